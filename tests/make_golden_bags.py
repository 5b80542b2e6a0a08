"""Records tests/golden again, after a shipped policy or a message changed.

    ./run exec python tests/make_golden_bags.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from programs import command

from ant_rl_ros.testing.domain import own_domain

GOLDEN = Path(__file__).resolve().parent / "golden"
# What every variant that ships did in some hundred ticks, falls included: launch arguments by name of the bag.
RUNS = {
    "default": {"policy": "default", "steps": "250", "seed": "3002"},
    "dynamic_int8": {"policy": "default", "variant": "dynamic_int8", "steps": "250", "seed": "3002"},
    "int8": {"policy": "default", "variant": "int8", "steps": "250", "seed": "3086"},
    "distil_128x128": {"policy": "default", "variant": "distil_128x128", "steps": "250", "seed": "30"},
    "ppo": {"policy": "ppo", "explore": "true", "steps": "250", "seed": "30"},
    "wired": {"policy": "wired", "tasks": "wired", "steps": "250", "seed": "30"},
    "directions": {"policy": "directions", "tasks": "directions", "steps": "250", "seed": "30"},
    "adaptive": {"policy": "adaptive", "tasks": "latency", "steps": "250", "seed": "30"},
    "lost_leg": {"policy": "lost_leg", "tasks": "lost_leg", "task_part": "held_out", "steps": "250", "seed": "30"},
}


def main() -> int:
    """Record all of them anew, and what they were made with."""
    code_version = subprocess.run(["git", "describe", "--always", "--dirty=+changes", "--abbrev=12"], cwd=GOLDEN.parent,
                                  env={name: value for name, value in os.environ.items() if name[:4] != "GIT_"},
                                  capture_output=True, text=True, check=True).stdout.strip()
    made = {}
    for name, arguments in RUNS.items():
        path = GOLDEN / name
        shutil.rmtree(path, ignore_errors=True)
        words = [f"{key}:={value}" for key, value in arguments.items()]
        with own_domain() as domain:
            done = command("sim", *words, f"record:={path}", "monitor:=false", "status:=false",
                           ROS_DOMAIN_ID=str(domain))
        print(done.stdout)
        if done.returncode:
            return done.returncode
        made[name] = {"command": " ".join(["./run sim", *words, "monitor:=false"]), "code_version": code_version}
    (GOLDEN / "made.json").write_text(json.dumps(made, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
