"""Functions for library callers that the command line does not need; `reflectioncoder` exports them."""
