"""Keras networks of actors and critics."""
