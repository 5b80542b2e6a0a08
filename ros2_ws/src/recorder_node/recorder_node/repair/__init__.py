"""Finishes bags whose recorder was killed, and keeps what can be read of damaged ones."""
