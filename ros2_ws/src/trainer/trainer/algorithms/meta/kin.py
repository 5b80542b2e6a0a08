"""Whose memories a policy understands."""

from __future__ import annotations

import hashlib

from ant_rl_core.settings import Settings


def memory_id(method: str, seed: int, config: Settings, *further: object) -> str:
    """For manifests (`Manifest.memory_id`): the same for all policies of one training, and of no other.

    Args:
        method: its name.
        seed, config: it was made with.
        further: what else its networks were made for, such as tasks.
    """
    made_of = " ".join(map(str, (seed, config, *further)))
    return f"{method}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
