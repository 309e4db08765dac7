"""One-off generation: requests in, raw completions and extracted programs out."""
