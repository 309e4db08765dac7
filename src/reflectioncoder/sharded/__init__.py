"""Sharded commands, one module each: `run_shard` does a shard's part, and `merge` combines all parts."""
