"""One training step in several formulations, on the same samples: what the benchmark, the experiments and the tests share."""
