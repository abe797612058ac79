"""Whether a search finds the right record, and how fast: ``python -m benchmarks.retrieval``."""
