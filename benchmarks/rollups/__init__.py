"""The benchmarks of rollups: sketches, and what recording costs with them."""
