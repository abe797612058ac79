"""The catalog: ids, metadata, commits and frames in SQLite."""
