"""Runs inside the sandbox's own processes: the warm server, the confinement, the kinds of programs. Standard library only.

The server imports this package at its start and needs no file of it afterwards: confined programs cannot read it.
"""
