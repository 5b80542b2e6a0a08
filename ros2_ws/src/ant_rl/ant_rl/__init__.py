"""Bring-up of the stack: arrangements of nodes, their launch and supervision, and ./run, which finds its verbs."""
