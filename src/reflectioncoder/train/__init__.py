"""Trains: losses as pure functions, checks, forecasts, and a subclass of `transformers.Trainer` that follows a plan of the whole run.

The modules `masking`, `views`, `packing`, `plan`, `heldout`, `sharding` and `stage` can be imported without torch.
"""
