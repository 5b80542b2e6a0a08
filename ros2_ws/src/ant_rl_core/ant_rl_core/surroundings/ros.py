"""What ROS finds around it, looked at once, before anything starts: else each process says it in its own jargon."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ant_rl_core.settings import ArgumentError
from ant_rl_core.surroundings.places import can_be_made, instead

_LAST_DOMAIN = 232  # beyond it DDS has no ports
_RANGES = ("LOCALHOST", "SUBNET", "SYSTEM_DEFAULT", "OFF", "NOT_SET")
_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_OWN_PROFILES = ("/ant_rl/config/fastdds.xml", "/ant_rl/config/fastrtps.xml")
_LOCAL = "_local.xml"  # how the variants of our own end that stay on this machine
_TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
# Each installed middleware has a file of its name in this folder of a prefix.
_MIDDLEWARES = Path("share", "ament_index", "resource_index", "rmw_typesupport")
_DISPATCHER = "rmw_implementation"  # registered there, too: it loads one of the others
# Variables that may keep two nodes apart, and values of them that everybody has.
_APART = {"ROS_DOMAIN_ID": ("0",), _RANGE: ("SUBNET", "SYSTEM_DEFAULT"), "ROS_LOCALHOST_ONLY": ("0",),
          "ROS_STATIC_PEERS": (), "ROS_DISCOVERY_SERVER": (), "RMW_IMPLEMENTATION": (),
          _TRANSPORTS: ("DEFAULT", "UDPv4"), **dict.fromkeys(_PROFILES, ())}


def variables(environ: Mapping[str, str], together: bool = True) -> dict[str, str]:
    """Environment variables to run ROS with, on top of these.

    Args:
        environ: those that are there.
        together: whether nodes are to find each other.

    Raises:
        ArgumentError: ROS can't run with what is there; the text is one sentence.
    """
    check_middleware(environ)
    _check_discovery(environ, together)
    for name in _PROFILES:
        if environ.get(name) and not os.access(environ[name], os.R_OK):
            raise ArgumentError(f"{name} must be a file that can be read, found {environ[name]}: unset it, or name one")
    if environ.get("ROS_SECURITY_ENABLE") == "true" and not os.path.isdir(environ.get("ROS_SECURITY_KEYSTORE", "")):
        raise ArgumentError("ROS_SECURITY_ENABLE=true needs a keystore, found ROS_SECURITY_KEYSTORE="
                            f"{environ.get('ROS_SECURITY_KEYSTORE', '')}: name its folder, or unset both")
    return _log_folder(environ)


def node_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of `variables`, and by which a process that begins ROS now does without Fast DDS's shared memory.

    A process that is killed while it holds one of the locks there keeps every other one that sends to it waiting, for
    good. UDP does as well for messages of a tick's size. Whoever has chosen transports or profiles keeps them.

    Raises:
        ArgumentError: ROS can't run with what is there; the text is one sentence.
    """
    found = variables(environ, together=False)
    profile = next((name for name in _PROFILES if environ.get(name)), None)
    own = profile is None or is_own_profile(environ[profile])
    if environ.get(_TRANSPORTS) or not own:
        return found
    if environ.get(_RANGE) != "LOCALHOST" or environ.get("ROS_STATIC_PEERS"):
        return {**found, _TRANSPORTS: "UDPv4"}
    # Within one machine ROS adds shared memory whatever that variable says: we stay there by a profile of our own.
    return found if profile is None else {**found, profile: environ[profile].removesuffix(".xml") + _LOCAL,
                                          _RANGE: "SYSTEM_DEFAULT"}


def stays_here(environ: Mapping[str, str]) -> bool:
    """Whether these variables keep nodes from being found from other machines."""
    local = any(environ.get(name, "").endswith(_LOCAL) and is_own_profile(environ[name]) for name in _PROFILES)
    return (local or environ.get(_RANGE, "") in ("LOCALHOST", "OFF")) and not environ.get("ROS_STATIC_PEERS")


def apart(environ: Mapping[str, str]) -> str:
    """Which variables may keep a node from the one that it waits for: the end of a sentence, or nothing."""
    found = [f"{name}={environ[name]}" for name, usual in _APART.items()
             if environ.get(name) and environ[name] not in usual and not is_own_profile(environ[name])]
    return f"; these may keep it from others: {', '.join(found)}" if found else ""


def is_own_profile(path: str) -> bool:
    """Whether profiles of Fast DDS are this project's, or their variants that stay on this machine."""
    return path.replace(_LOCAL, ".xml").endswith(_OWN_PROFILES)


def check_middleware(environ: Mapping[str, str]) -> None:
    """ArgumentError where it is not installed: ROS then ends a program that only imports rclpy."""
    wanted = environ.get("RMW_IMPLEMENTATION")
    folders = [Path(prefix, _MIDDLEWARES) for prefix in environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    there = sorted({file.name for folder in folders if folder.is_dir() for file in folder.iterdir()} - {_DISPATCHER})
    if wanted and there and wanted not in there:
        raise ArgumentError(f"RMW_IMPLEMENTATION must be a middleware that is installed ({', '.join(there)}), found "
                            f"{wanted}: unset it, or install that one")


def _check_discovery(environ: Mapping[str, str], together: bool) -> None:
    domain = environ.get("ROS_DOMAIN_ID", "")
    if domain and not (re.fullmatch(r"\s*\+?\d{1,4}", domain, re.ASCII) and int(domain) <= _LAST_DOMAIN):
        raise ArgumentError(f"ROS_DOMAIN_ID must be a whole number from 0 to {_LAST_DOMAIN}, found {domain}")
    found = environ.get(_RANGE, "")
    if found and found not in _RANGES:
        raise ArgumentError(f"{_RANGE} must be {' or '.join(_RANGES)}, found {found}")
    if together and found == "OFF":
        raise ArgumentError(f"{_RANGE}=OFF keeps the nodes from finding each other: unset it, or set it to LOCALHOST")


def _log_folder(environ: Mapping[str, str]) -> dict[str, str]:
    """A folder for ROS's logs where the usual one, below HOME, can't be made: without one no node starts."""
    for name, below in (("ROS_LOG_DIR", ""), ("ROS_HOME", "log")):
        if environ.get(name):
            if not can_be_made(Path(environ[name], below)):
                raise ArgumentError(f"{name} must be a folder that can be written, found {environ[name]}: unset it, or "
                                    "name another")
            return {}
    if environ.get("HOME") and can_be_made(Path(environ["HOME"], ".ros", "log")):
        return {}
    folder = instead("log")
    if folder is None:
        raise ArgumentError("ROS writes logs below HOME, and found no folder that can be written there, nor one for "
                            "temporary files: set ROS_LOG_DIR to one")
    return {"ROS_LOG_DIR": str(folder)}
