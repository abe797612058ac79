"""Operating-system services: file locks, files that appear whole, threads, progress bars."""
