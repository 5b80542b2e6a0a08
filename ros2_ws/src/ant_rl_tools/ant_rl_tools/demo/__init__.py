"""Two robots in a task that changes while they walk: a policy that adapts, and beside it one that can't."""
