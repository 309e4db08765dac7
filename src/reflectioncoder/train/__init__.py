"""Training: masks, views and losses as pure functions, a plan of the whole run, and a subclass of `transformers.Trainer`.

The modules `masking`, `views` and `plan` need no torch; `losses`, `model` and `trainer` do.
"""
