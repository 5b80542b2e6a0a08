"""Parameters of the recorder."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.settings import Settings, setting
from recorder_node.bag import STORAGES


@dataclass(frozen=True)
class RecorderSettings(Settings):
    """Parameters of the recorder."""

    record: str = setting("", "folder of the bag, which must not exist yet; empty: rosbag2_ and date and time, here",
                        path=True)
    record_format: str = setting("mcap", "storage of the bag", choices=tuple(STORAGES))
