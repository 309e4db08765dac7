"""Trains: pure loss functions, checks, forecasts, and a subclass of `transformers.Trainer` that follows a plan of the whole run.

The modules `data`, `run` and `sharding` can be imported without torch.
"""
