"""The catalog: ids, metadata, commits and frames in SQLite, and the filter language, compiled to its SQL."""
