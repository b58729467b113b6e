"""The baselines of the benchmark: the same computations in plain PyTorch."""
