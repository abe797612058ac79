"""QR pictures: symbols, erasure coding, and reading them back from any video."""
