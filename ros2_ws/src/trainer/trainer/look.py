"""The look of pictures, whatever a user's matplotlibrc says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_look() -> Iterator[None]:
    """Matplotlib's own defaults for what is drawn and saved within the block, or the function that this decorates.

    A user's may ask for a TeX that is not there, a notebook for a backend of its own.
    """
    os.environ["MPLBACKEND"] = "agg"  # read by the import
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield
