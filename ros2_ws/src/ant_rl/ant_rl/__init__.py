"""The whole stack: arrangements of nodes, their launch and supervision, and the commands behind ./run."""
