"""Operating-system services: file locks, atomic files, threads, progress bars."""
