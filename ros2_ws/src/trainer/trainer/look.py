"""The look of pictures, whatever a user's matplotlibrc says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ant_rl_core.surroundings.places import can_be_made, instead


@contextmanager
def own_look() -> Iterator[None]:
    """Matplotlib's own defaults for what is drawn and saved within the block, or the function that this decorates.

    A user's may ask for a TeX that is not there, a notebook for a backend of its own.
    """
    os.environ["MPLBACKEND"] = "agg"  # read by the import
    cache = None if can_be_made(Path("~/.config/matplotlib")) else instead("matplotlib")
    if cache:  # else it says at length what it does instead
        os.environ.setdefault("MPLCONFIGDIR", str(cache))
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield
