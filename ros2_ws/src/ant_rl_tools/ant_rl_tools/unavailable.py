"""What is said where something can't be had on this machine."""


class Unavailable(Exception):
    """Why something can't be measured or run here, in one sentence."""
