"""What off-policy learners share: settings, replay, observation statistics, and how many gradient steps are owed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ant_rl_core.settings import Settings, setting
from ant_rl_core.step import Transition
from trainer import checkpoint, guard
from trainer.buffers.replay import ReplayBatch, ReplayBuffer
from trainer.networks.mlp import PRECISIONS
from trainer.networks.statistics import Normalizer


@dataclass(frozen=True)
class OffPolicyConfig(Settings):
    """Settings that all off-policy methods have."""

    total_steps: int = setting(1_000_000, "environment steps to learn from", minimum=1)
    learning_starts: int = setting(10_000, "environment steps with random actions before learning starts", minimum=0)
    updates_per_step: float = setting(1.0, "gradient steps per environment step", above=0)
    batch_size: int = setting(256, "transitions per gradient step", minimum=1)
    replay_capacity: int = setting(1_000_000, "transitions that are kept, the newest ones", minimum=1)
    n_step: int = setting(1, "steps that are summed before a value is taken from the critic", minimum=1)
    discount: float = setting(0.99, "gamma", minimum=0, below=1)
    prioritized: bool = setting(False, "draw transitions in proportion to their errors instead of uniformly")
    priority_exponent: float = setting(0.6, "how far the errors count for the draws; 0 is uniform",
                                       minimum=0, maximum=1)
    importance_exponent: float = setting(0.4, "how far the bias of such draws is undone by weights, at the start",
                                         minimum=0, maximum=1)
    importance_exponent_end: float = setting(1.0, "how far it is undone after total_steps; linear in between",
                                             minimum=0, maximum=1)
    normalize_observations: bool = setting(False, "scale observations by their running mean and standard deviation")
    observation_min_std: float = setting(1.0, "least standard deviation that observations are scaled by: what hardly "
                                         "ever varies, such as most contact forces, would become huge when it does",
                                         above=0)
    observation_clip: float = setting(10.0, "scaled observations are clipped to this many standard deviations",
                                      above=0, finite=False)
    precision: str = setting("float32", "of the matrix products in learning, float32 or bfloat16", choices=PRECISIONS)


class Experience:
    """Takes what robots did and hands out batches to learn from.

    Args:
        config: see `OffPolicyConfig`.
        num_envs, observation_size, action_size: sizes.
        seed: of the draws.

    Attributes:
        env_steps: transitions observed.
        updates: gradient steps made.
    """

    def __init__(self, config: OffPolicyConfig, num_envs: int, observation_size: int, action_size: int,
                 seed: np.random.SeedSequence) -> None:
        self.config, self.num_envs = config, num_envs
        self.replay = ReplayBuffer(config.replay_capacity, num_envs, observation_size, action_size, seed,
                                   n_step=config.n_step, discount=config.discount,
                                   priority_exponent=config.priority_exponent if config.prioritized else None)
        self.normalizer: Normalizer | None = None
        if config.normalize_observations:
            self.normalizer = Normalizer(observation_size, config.observation_clip, config.observation_min_std)
        self.env_steps = self.updates = 0
        self._largest_piece = max(1, math.ceil(num_envs * config.updates_per_step))

    @property
    def warming_up(self) -> bool:
        """Whether actions are still to be random."""
        return self.env_steps < self.config.learning_starts

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity."""
        guard.check_transition(batch, self.env_steps)
        self.replay.add(batch)
        self.env_steps += self.num_envs
        if self.normalizer is not None:
            self.normalizer.update(batch.observation)

    def owed(self) -> int:
        """Gradient steps to be made now: those of one tick, or fewer."""
        due = math.floor((self.env_steps - self.config.learning_starts) * self.config.updates_per_step)
        return max(0, min(due - self.updates, self._largest_piece))

    def draw(self) -> ReplayBatch:
        """A batch with normalized observations, for one gradient step, which it counts."""
        batch = self.draw_as_observed()
        if self.normalizer is None:
            return batch
        return replace(batch, observation=self.normalize(batch.observation),
                       next_observation=self.normalize(batch.next_observation))

    def draw_as_observed(self) -> ReplayBatch:
        """The same with observations as the environment gave them."""
        self.updates += 1
        config = self.config
        done = min(1.0, self.env_steps / config.total_steps)
        exponent = config.importance_exponent + done * (config.importance_exponent_end - config.importance_exponent)
        return self.replay.sample(config.batch_size, exponent)

    def prioritize(self, batch: ReplayBatch, priority: np.ndarray) -> None:
        """Draw the rows of a drawn batch by these priorities [m] > 0 from now on; nothing where draws are uniform."""
        if self.config.prioritized:
            self.replay.update_priorities(batch.index, priority)

    def normalize(self, observation: np.ndarray) -> np.ndarray:
        """float32 [m, observation_size], as the networks take it."""
        return observation if self.normalizer is None else self.normalizer(observation)

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays."""
        return {**{f"replay_{name}": array for name, array in self.replay.save().items()},
                **({} if self.normalizer is None else self.normalizer.save("observation_")),
                "env_steps": np.asarray(self.env_steps), "updates": np.asarray(self.updates)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if its replay buffer was another one."""
        self.replay.restore(checkpoint.Part(saved, "replay_"))
        if self.normalizer is not None:
            self.normalizer.restore(saved, "observation_")
        self.env_steps, self.updates = int(saved["env_steps"]), int(saved["updates"])
