"""Full-text search: BM25 over words and character bigrams."""
