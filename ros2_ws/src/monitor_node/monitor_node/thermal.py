"""How warm the host's processors are and what slows them down, from /sys: text in, numbers out.

Formats: the kernel's documents thermal/sysfs-api and admin-guide/pm/cpufreq; get_throttled of a Raspberry Pi as its
kernel's drivers/firmware/raspberrypi.c writes it, with the bits that Raspberry Pi's documentation of `vcgencmd
get_throttled` tells. The functions that read files are at the end, and apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PLAUSIBLE = (-40.0, 150.0)  # [degC]; a zone without a sensor reports 0 K or worse

# What slows a Raspberry Pi down, in the order of the firmware's bits.
UNDER_VOLTAGE, FREQUENCY_CAPPED, THROTTLED, SOFT_TEMPERATURE_LIMIT = 1, 2, 4, 8
_CONDITIONS = {UNDER_VOLTAGE: "under-voltage", FREQUENCY_CAPPED: "frequency capped", THROTTLED: "throttled",
               SOFT_TEMPERATURE_LIMIT: "soft temperature limit"}
_SINCE_BOOT_SHIFT = 16


@dataclass(frozen=True)
class Throttling:
    """What a Raspberry Pi's firmware says of itself: sums of UNDER_VOLTAGE, FREQUENCY_CAPPED, …

    Attributes:
        now: what holds at this moment.
        since_boot: what has held at any moment since boot.
    """

    now: int
    since_boot: int


@dataclass(frozen=True)
class Host:
    """The host's processors at one moment; NaN and None where it does not tell.

    Attributes:
        temperature: of the hottest zone [degC].
        frequency: of the fastest core [MHz].
        frequency_cap: how far the kernel holds frequencies below the hardware's maximum [%].
        throttling: as the firmware of a Raspberry Pi tells.
    """

    temperature: float = math.nan
    frequency: float = math.nan
    frequency_cap: float = math.nan
    throttling: Throttling | None = None


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


def megahertz(text: str) -> float:
    """Frequency [MHz] from the text of a cpufreq file (kHz), NaN where it is none, like the `<unknown>` of some."""
    return int(text) / 1000 if re.fullmatch(r"\s*[1-9][0-9]{0,8}\s*", text) else math.nan


def highest_frequency(texts: Iterable[str]) -> float:
    """Highest frequency [MHz] of the texts of policy*/scaling_cur_freq, NaN without one."""
    return max(_numbers(map(megahertz, texts)), default=math.nan)


def frequency_cap(limits: Iterable[tuple[str, str]]) -> float:
    """How far the kernel holds frequencies below the hardware's maximum [%]: the largest share, NaN without any.

    Args:
        limits: texts of scaling_max_freq and cpuinfo_max_freq of each policy.
    """
    shares = (100 * (1 - megahertz(limit) / megahertz(maximum)) for limit, maximum in limits)
    return max(_numbers(shares), default=math.nan)


def parse_throttled(text: str) -> Throttling | None:
    """From the text of a Raspberry Pi's get_throttled (32 bits in hexadecimal), None where it is none."""
    if not re.fullmatch(r"\s*(0x)?[0-9a-fA-F]{1,8}\s*", text):
        return None
    bits, every = int(text, 16), sum(_CONDITIONS)
    return Throttling(bits & every, bits >> _SINCE_BOOT_SHIFT & every)


def conditions(bits: int) -> str:
    """The conditions in such a sum in words, `none` for 0."""
    return ", ".join(word for bit, word in _CONDITIONS.items() if bits & bit) or "none"


def read_host(sys: Path = Path("/sys")) -> Host:
    """State of this host's processors; what it does not tell, or not in the expected form, is NaN or None."""
    policies = sorted(sys.glob("devices/system/cpu/cpufreq/policy*"))
    limits = [_texts([policy / "scaling_max_freq", policy / "cpuinfo_max_freq"]) for policy in policies]
    # soc:firmware up to the Raspberry Pi 4, soc@107c000000:firmware on the 5.
    throttled = _texts(sys.glob("devices/platform/soc*/soc*:firmware/get_throttled"))
    return Host(hottest(_texts(sys.glob("class/thermal/thermal_zone*/temp"))),
                highest_frequency(_texts(policy / "scaling_cur_freq" for policy in policies)),
                frequency_cap((pair[0], pair[1]) for pair in limits if len(pair) == 2),
                parse_throttled(throttled[0]) if throttled else None)


def _texts(paths: Iterable[Path]) -> list[str]:
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text(errors="replace"))
        except OSError:
            continue  # not on this computer; or a sensor that is asleep, which answers with an error
    return texts


def _numbers(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
