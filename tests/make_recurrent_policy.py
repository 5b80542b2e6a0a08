"""Makes tests/recurrent_policy.zip again, after the form of a bundle changed: a small actor with a memory, untrained.

    ./run exec python tests/make_recurrent_policy.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from ant_rl_core import bundle

RECURRENT = Path(__file__).resolve().parent / "recurrent_policy.zip"


def main() -> int:
    """Write the bundle: it takes all that happened before, remembers for a trial, and explores."""
    sys.path.insert(0, str(RECURRENT.parent.parent / "ros2_ws" / "src" / "policy_node" / "test"))
    import policy_bundles
    before = ("previous_action", "previous_reward", "previous_done")
    made = bundle.unpack(policy_bundles.packed(
        version=1, seed=4, hidden=8, state_size=8, before=before, changes={"memory": "trial", "memory_id": "test"}))
    members = {"actor.tflite": made.members["actor.tflite"]}
    RECURRENT.write_bytes(bundle.pack(made.manifest, members, {}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
