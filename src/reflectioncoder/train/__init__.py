"""Training: the losses in one pass over the vocabulary, a subclass of `transformers.Trainer`, and what a run needs around it.

The modules `data`, `run` and `sharding` can be imported without torch.
"""
