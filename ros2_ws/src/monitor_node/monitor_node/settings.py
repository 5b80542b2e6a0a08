"""Parameters of the monitor."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.settings import setting
from monitor_node.health import Thresholds


@dataclass(frozen=True)
class MonitorSettings(Thresholds):
    """Parameters of the monitor, the thresholds among them."""

    period: float = setting(1.0, "time between two looks at the processes", unit="s", minimum=0.05,
                            finite=False, read_only=False)
    forget_after: float = setting(30.0, "a process that is gone is reported for this long", unit="s", minimum=0,
                                  finite=False, read_only=False)
    namespaces: tuple[str, ...] = setting(("",), "namespaces to watch on this host; empty text: the node's own")
