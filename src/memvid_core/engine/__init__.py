"""Opening, committing, indexing, searching and compacting, for the methods of Memory."""
