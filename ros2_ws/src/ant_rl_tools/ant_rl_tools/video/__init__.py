"""Policies walking side by side, as an MP4."""
