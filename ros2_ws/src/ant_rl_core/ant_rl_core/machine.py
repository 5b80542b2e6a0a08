"""The facts about a machine that measured figures come from."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

_PACKAGES = ("numpy", "mujoco", "gymnasium", "ai-edge-litert", "tflite-runtime", "tensorflow", "tensorflow-cpu",
             "keras", "ros-rclpy", "envpool")
# Variables that say how libraries compute: which instructions, how many threads. They change the last bits of sums.
_COMPUTING = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
              "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "TF_XLA_FLAGS", "XLA_FLAGS",
              "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "LD_PRELOAD")


def machine() -> dict[str, Any]:
    """What figures were measured on: processor, usable cores, load at the start, versions, variables."""
    return {"cpu": _cpu_model(), "cores": len(os.sched_getaffinity(0)), "load_average": os.getloadavg()[0],
            "system": platform.platform(), "python": platform.python_version(),
            "ros_distro": os.environ.get("ROS_DISTRO", ""),
            "rmw_implementation": os.environ.get("RMW_IMPLEMENTATION", ""), "versions": _versions(),
            "variables": computing_variables()}


def computing_variables() -> dict[str, str]:
    """What the surroundings say of how libraries compute, by variable; mostly nothing."""
    return {name: os.environ[name] for name in _COMPUTING if os.environ.get(name)}


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
