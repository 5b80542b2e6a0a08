"""Policies that find out their task by a formula, or are told it, in front of one that walks: to measure others by."""
