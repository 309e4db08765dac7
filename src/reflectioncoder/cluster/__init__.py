"""Runs programs on the nodes of a Ray cluster (`--ray`); the command's own process keeps the log, queries models and writes results.

`judging`, `building`: commands on a cluster and their jobs for nodes; `crew`: which nodes take part; `dispatch`: distributes jobs and
repeats lost ones; `node`: the process on a node; `ray_cluster`: Ray. Only the last uses Ray, which it imports on demand.
"""
