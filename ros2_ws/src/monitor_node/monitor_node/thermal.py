"""Temperature of the host from /sys/class/thermal."""

from __future__ import annotations

import math
from pathlib import Path
from collections.abc import Iterable

_PLAUSIBLE = (-40.0, 150.0)  # [degC]; a zone without a sensor reports 0 K or worse


def hottest(texts: Iterable[str]) -> float:
    """Highest plausible temperature [degC] of the texts of thermal_zone*/temp (millidegrees), NaN without one."""
    found = []
    for text in texts:
        try:
            degrees = int(text) / 1000
        except ValueError:
            continue  # an empty or odd zone says nothing
        if _PLAUSIBLE[0] < degrees < _PLAUSIBLE[1]:
            found.append(degrees)
    return max(found, default=math.nan)


def read_temperature(folder: Path = Path("/sys/class/thermal")) -> float:
    """Temperature of the host's hottest zone [degC], NaN where it has none."""
    texts = []
    for path in folder.glob("thermal_zone*/temp"):
        try:
            texts.append(path.read_text())
        except OSError:
            continue  # a zone whose sensor is asleep answers with an error
    return hottest(texts)
