"""Comparisons with other libraries, as ratios in one run: ``python -m benchmarks.stores`` and others."""
