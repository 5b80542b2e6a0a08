"""The facts about a machine that measured figures come from."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

_PACKAGES = ("numpy", "mujoco", "gymnasium", "ai-edge-litert", "tflite-runtime", "tensorflow", "tensorflow-cpu",
             "keras", "ros-rclpy", "envpool")


def machine() -> dict[str, Any]:
    """What figures were measured on: processor, usable cores, load at the start, versions."""
    return {"cpu": _cpu_model(), "cores": len(os.sched_getaffinity(0)), "load_average": os.getloadavg()[0],
            "system": platform.platform(), "python": platform.python_version(),
            "ros_distro": os.environ.get("ROS_DISTRO", ""),
            "rmw_implementation": os.environ.get("RMW_IMPLEMENTATION", ""), "versions": _versions()}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # not every package is on every machine
    return found


def _cpu_model() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.machine()
