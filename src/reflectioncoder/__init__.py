"""ReflectionCoder: better one-off code generation by learning from reflection sequences (arXiv 2405.17057)."""

__version__ = "0.1.0"
