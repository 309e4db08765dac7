"""Training: masks, views and losses as pure functions, a plan of the whole run, and a subclass of `transformers.Trainer`.

The modules `masking`, `views`, `packing`, `plan`, `heldout`, `sharding` and `stage` can be imported without torch.
"""
