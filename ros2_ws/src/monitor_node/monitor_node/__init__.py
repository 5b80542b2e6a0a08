"""Measures the stack's processes on one host and publishes statistics and diagnostics."""
