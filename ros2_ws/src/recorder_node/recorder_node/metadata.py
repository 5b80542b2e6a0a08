"""The metadata.yaml of a bag, as `ros2 bag` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ant_rl_core.files import write_atomically
from recorder_node.storage import METADATA_VERSION, Contents, checksum_text

METADATA = "metadata.yaml"
_ROOT = "rosbag2_bagfile_information"
_SUM = "crc32 of "  # what a topic's checksum is called among the custom data
# Names of QoS policies by the numbers that stand for them before version 9 (rmw/types.h).
_POLICIES = {
    "history": ("system_default", "keep_last", "keep_all", "unknown"),
    "reliability": ("system_default", "reliable", "best_effort", "unknown", "best_available"),
    "durability": ("system_default", "transient_local", "volatile", "unknown", "best_available"),
    "liveliness": ("system_default", "automatic", "manual_by_node", "manual_by_topic", "unknown", "best_available")}


def information(storage: str, files: Mapping[str, Contents], contents: Contents, distro: str, mode: str = "",
                compression: str = "", custom: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a metadata.yaml tells.

    Args:
        storage: mcap or sqlite3.
        files: what is in each, by name.
        contents: what is in all of them.
        distro: ROS distribution.
        mode, compression: MESSAGE or FILE, and by what; empty: nothing is compressed but chunks.
        custom: of whoever recorded it; checksums of messages are made anew, of such as are not compressed.
    """
    own = {name: text for name, text in (custom or {}).items() if not str(name).startswith(_SUM)}
    for topic_id, topic in enumerate(contents.topics, 1):
        if topic.name in contents.sums and not mode:
            own[_SUM + topic.name] = checksum_text(contents.counts[topic_id], contents.sums[topic.name])
    return {
        "version": METADATA_VERSION, "storage_identifier": storage, "relative_file_paths": list(files),
        **_span(contents),
        "topics_with_message_count": [
            {"topic_metadata": {
                "name": topic.name, "type": topic.definition.type_name, "serialization_format": topic.encoding,
                "offered_qos_profiles": [dict(profile) for profile in topic.offered_qos],
                "type_description_hash": topic.definition.type_hash},
             "message_count": contents.counts[topic_id]} for topic_id, topic in enumerate(contents.topics, 1)],
        "compression_format": compression, "compression_mode": mode,
        "files": [{"path": name, **_span(inside)} for name, inside in files.items()],
        "custom_data": own or None, "ros_distro": distro}


def is_other(custom: Any, topic: str, count: int, total: int) -> bool:
    """Whether messages of a topic are not those that were recorded: as many, but with another sum of checksums.

    Args:
        custom: data of a bag's metadata.
        topic: its name.
        count, total: of the messages.
    """
    told = str(custom.get(_SUM + topic, "")) if isinstance(custom, dict) else ""
    return told.split(" ")[0] == str(count) and told != checksum_text(count, total)


def write(folder: Path, told: Mapping[str, Any]) -> None:
    """Write a bag's metadata.yaml."""
    write_atomically(folder / METADATA, _dumped({_ROOT: told}).encode())


def text(told: Mapping[str, Any]) -> str:
    """The same as storages keep it."""
    return _dumped(told)


def read(folder: Path) -> dict[str, Any] | None:
    """What a bag's metadata.yaml tells; None where there is none that can be understood. OSError."""
    try:
        return _table(yaml.safe_load((folder / METADATA).read_text(encoding="utf-8"))[_ROOT])
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        return None


def parse(kept: str) -> dict[str, Any] | None:
    """What `text` was made of; None where it can't be understood."""
    try:
        return _table(yaml.safe_load(kept))
    except (ValueError, RecursionError, yaml.YAMLError):
        return None


def parse_qos(offered: Any) -> tuple[dict[str, Any], ...]:
    """QoS profiles as storages or a metadata.yaml have them, of any version, as version 9 has them.

    What is none is left out: it is no reason to refuse a bag.
    """
    try:
        profiles = yaml.safe_load(offered) if isinstance(offered, str) else offered
    except (ValueError, RecursionError, yaml.YAMLError):
        return ()
    if not isinstance(profiles, (list, tuple)):
        return ()
    return tuple({name: _policy(name, value) for name, value in profile.items()}
                 for profile in profiles if isinstance(profile, dict))


def _policy(name: str, value: Any) -> Any:
    names = _POLICIES.get(name, ())
    return names[value] if type(value) is int and 0 <= value < len(names) else value


def _table(found: Any) -> dict[str, Any] | None:
    return found if isinstance(found, dict) else None


def _span(contents: Contents) -> dict[str, Any]:
    return {"starting_time": {"nanoseconds_since_epoch": contents.start},
            "duration": {"nanoseconds": contents.end - contents.start},
            "message_count": sum(contents.counts.values())}


class _PlainDumper(yaml.SafeDumper):
    """Without anchors, which not every reader of bags knows."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _dumped(data: Any) -> str:
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False)
