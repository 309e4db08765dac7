"""Code that runs inside the sandbox's processes: the warm server, the confinement, the kinds of programs. Standard library only.

The server imports this package at its start and needs none of its files later: confined programs cannot read them.
"""
