"""Services of the system: file locks, atomic files, SQLite files, threads, progress bars."""
