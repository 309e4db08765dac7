"""Work on the nodes of a Ray cluster (`--ray`): the command's own process keeps the log, asks models and finishes; nodes run programs.

`judging`, `building`: commands on a cluster, and what nodes do for them; `crew`: which nodes take part; `dispatch`: who does what, and
what becomes of work that is lost; `node`: what runs on a node; `ray_cluster`: Ray. Only the last knows Ray, and imports it when it is
asked for.
"""
