"""Training: masks, views and losses as pure functions, a plan of the whole run, and a subclass of `transformers.Trainer`.

The modules `masking`, `views`, `plan` and `stage` can be imported without torch; `losses` and `trainer` cannot.
"""
