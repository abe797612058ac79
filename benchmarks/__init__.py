"""Side by side with real peers, as ratios in one run: ``python -m benchmarks.stores`` and others."""
