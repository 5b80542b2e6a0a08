"""Simulations beside the live one: what would come of other actions, and what came of those that were recorded."""
