"""Commands in shards, a module each: how a shard does its part (`run_shard`), and how `merge` makes the whole of all parts."""
