"""How a memory works: opening, committing, indexing, searching and compacting, under the methods of Memory."""
