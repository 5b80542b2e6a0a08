"""Plays recordings back: to a policy node, to a fresh environment, to a learner; and says whether they do the same."""
