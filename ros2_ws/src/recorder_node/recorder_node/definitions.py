"""Message definitions as bags hold them: the text of a type and of all types within it, and the type's hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SEPARATOR = "=" * 80


@dataclass(frozen=True)
class Definition:
    """One message type.

    Attributes:
        type_name: such as std_msgs/msg/Header.
        text: its .msg file, then those of all types within it, each below a line `MSG: package/Type`
            (what MCAP calls ros2msg).
        type_hash: RIHS01_ and the digest of the type's description (REP 2016).
    """

    type_name: str
    text: str
    type_hash: str


def read_definition(type_name: str, share: Callable[[str], str]) -> Definition:
    """Read a type's definition from what its package installed.

    Args:
        type_name: such as std_msgs/msg/Header.
        share: share folder of a package, by the package's name.

    Raises:
        OSError: a file of the definition is not there.
    """
    described = json.loads(_file(type_name, share, ".json").read_text())
    type_hash = next(entry["hash_string"] for entry in described["type_hashes"] if entry["type_name"] == type_name)
    parts = [_file(type_name, share, ".msg").read_text()]
    for inner in described["type_description_msg"]["referenced_type_descriptions"]:
        name = inner["type_name"]
        package, _, short = name.split("/")
        parts.append(f"{_SEPARATOR}\nMSG: {package}/{short}\n{_file(name, share, '.msg').read_text()}")
    return Definition(type_name, "\n".join(parts), type_hash)


def _file(type_name: str, share: Callable[[str], str], suffix: str) -> Path:
    package, folder, short = type_name.split("/")
    return Path(share(package), folder, short + suffix)
