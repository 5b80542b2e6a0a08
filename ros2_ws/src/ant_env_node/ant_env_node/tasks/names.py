"""What a setting `tasks` may be, for programs that do without numpy; `presets.py` has what the names stand for."""

from __future__ import annotations

NAMES = ("none", "directions2", "directions4", "directions", "goals", "velocities", "wired", "swapped", "lost_leg",
         "strength", "latency", "terrain", "everything", "obstacle")
