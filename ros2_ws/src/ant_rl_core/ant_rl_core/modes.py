"""How environment and policy keep time, see `docs/architecture.md`."""

from __future__ import annotations

MODES = ("lockstep", "realtime")
