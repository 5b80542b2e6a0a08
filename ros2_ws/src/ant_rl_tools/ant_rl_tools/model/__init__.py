"""`./run model`: learn a model of the environment from recordings, and judge it."""
