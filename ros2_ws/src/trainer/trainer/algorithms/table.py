"""The learning methods by name: those of every family. Nothing here imports a learning library."""

from __future__ import annotations

from trainer.algorithms import meta, model_based, off_policy, on_policy
from trainer.algorithms.method import Method

ALGORITHMS: dict[str, Method] = {
    **on_policy.METHODS,
    **off_policy.METHODS,
    **model_based.METHODS,
    **meta.METHODS,
}
