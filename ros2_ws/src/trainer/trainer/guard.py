"""Values that end a training: NaN and infinity, estimates that explode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from ant_rl_core.step import Transition

# No task's values come near it; float32 losses, which square them, still hold.
EXPLODED = 1e9


def check_transition(batch: Transition, env_steps: int) -> None:
    """FloatingPointError where a transition holds NaN or infinity, or a reward that no task gives."""
    for name in ("observation", "action", "reward", "next_observation"):
        array = getattr(batch, name)
        bad = ~(np.abs(array) < EXPLODED)
        if bad.any():
            raise FloatingPointError(_text(name, array[bad][0], env_steps))


def check(metrics: Mapping[str, float], variables: Iterable[keras.Variable], env_steps: int) -> None:
    """End a training whose metrics were lost.

    Args:
        metrics: losses and other metrics of an update by name.
        variables: what the update changed; searched, once a metric is bad, for the one that was lost first.
        env_steps: for the message.

    Raises:
        FloatingPointError: a metric is NaN, infinite or beyond `EXPLODED`; the text names it, the step, and the first
            variable that is not finite, if one is.
    """
    for name, value in metrics.items():
        if not abs(value) < EXPLODED:
            lost = [v.path for v in variables if not np.isfinite(v.numpy()).all()]
            raise FloatingPointError(_text(name, value, env_steps, f" (and {lost[0]} with it)" if lost else ""))


def check_weights(weights: Mapping[str, np.ndarray], env_steps: int) -> None:
    """FloatingPointError where networks or optimizers lost their values, as they can with losses still finite.

    Args:
        weights: see `Learner.weights`.
        env_steps: for the message.
    """
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise FloatingPointError(_text(f"{name}, an array of shape {array.shape},",
                                           array[~np.isfinite(array)].flat[0], env_steps))


def _text(name: str, value: float, env_steps: int, more: str = "") -> str:
    return f"{name} became {value:g}{more} at {env_steps} environment steps; the last checkpoint is the last good one"
