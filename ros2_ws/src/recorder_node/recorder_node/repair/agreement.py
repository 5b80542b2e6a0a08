"""Does a bag's metadata.yaml tell what is in its files?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from recorder_node.metadata import parse_qos
from recorder_node.storage import METADATA_VERSION

_SECOND = 1_000_000_000  # [ns]; some recorders take the time of a message before they know whether it is kept


def agrees(told: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether a reader that believes a metadata.yaml gets what is there.

    Args:
        told: what it tells, of any version that is known.
        right: what it would tell if it were made of the files.
    """
    try:
        return (type(told["version"]) is int and 0 < told["version"] <= METADATA_VERSION
                and told["storage_identifier"] == right["storage_identifier"]
                and list(map(_name, told["relative_file_paths"])) == right["relative_file_paths"]
                and compression(told) == compression(right) and _is_near(told, right) and _topics_agree(told, right)
                and _files_agree(told.get("files"), right["files"])
                and isinstance(told.get("custom_data") or {}, dict) and isinstance(told.get("ros_distro", ""), str))
    except (KeyError, TypeError, AttributeError):
        return False


def compression(told: Mapping[str, Any]) -> tuple[str, str]:
    """Mode and format, empty where nothing is compressed but chunks."""
    mode = str(told.get("compression_mode") or "").upper()
    return (mode, str(told.get("compression_format") or "")) if mode not in ("", "NONE") else ("", "")


def _is_near(told: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether count and times are the right ones."""
    if told["message_count"] != right["message_count"]:
        return False
    start, duration = told["starting_time"]["nanoseconds_since_epoch"], told["duration"]["nanoseconds"]
    return not right["message_count"] or (
        abs(start - right["starting_time"]["nanoseconds_since_epoch"]) < _SECOND
        and abs(duration - right["duration"]["nanoseconds"]) < _SECOND)


def _topics_agree(told: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    theirs, ours = _topics(told), _topics(right)
    for name in set(theirs) | set(ours):
        count, fields, offered, type_hash = theirs.get(name, (0, None, (), ""))
        right_count, right_fields, right_offered, right_hash = ours.get(name, (0, None, (), ""))
        if count != right_count or fields and right_fields and fields != right_fields:
            return False
        # What the files do not say can't be wrong.
        if offered and right_offered and offered != right_offered or type_hash and right_hash and (
                type_hash != right_hash):
            return False
    return True


def _topics(told: Mapping[str, Any]) -> dict[str, tuple[int, Any, Any, str]]:
    result = {}
    for row in told["topics_with_message_count"]:
        topic = row["topic_metadata"]
        result[topic["name"]] = (row["message_count"], (topic["type"], topic["serialization_format"]),
                                 parse_qos(topic.get("offered_qos_profiles")), topic.get("type_description_hash", ""))
    return result


def _files_agree(told: Any, right: list[dict[str, Any]]) -> bool:
    return not told or [(_name(file["path"]), file["message_count"]) for file in told] == [
        (file["path"], file["message_count"]) for file in right]


def _name(path: Any) -> str:
    return PurePath(path).name
