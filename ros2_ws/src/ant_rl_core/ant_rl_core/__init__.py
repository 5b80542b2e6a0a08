"""Contracts and small pure parts shared by every package of the stack; needs numpy only."""
