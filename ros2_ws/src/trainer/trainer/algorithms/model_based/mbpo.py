"""Model-based policy optimization: SAC on short imagined branches (Janner et al., arXiv:1906.08253)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from ant_rl_core.settings import changed, setting
from trainer import checkpoint
from trainer.algorithms.model_based.base import ModelBasedConfig, ModelBasedSAC
from trainer.algorithms.model_based.imagined_rows import ImaginedBatch, ImaginedRows
from trainer.algorithms.off_policy.sac import ACTOR_METRICS, CRITIC_METRICS
from trainer.models.kinematics import STATE_SIZE, state_of
from trainer.models.rollout import default_end, default_reward


@dataclass(frozen=True)
class MBPOConfig(ModelBasedConfig):
    """Settings of MBPO."""

    updates_per_step: float = changed(4.0)
    real_share: float = setting(0.05, "share of each batch that is of transitions as they happened", above=0, maximum=1)
    branches: int = setting(20_000, "states as observed from which branches are imagined after each fit of the model",
                            minimum=1)
    branch_length: int = setting(1, "steps of a branch at the start", minimum=1)
    branch_length_end: int = setting(25, "steps of a branch at branch_length_until", minimum=1)
    branch_length_from: int = setting(20_000, "environment steps from which branches grow", minimum=0)
    branch_length_until: int = setting(100_000, "environment steps up to which they grow, linearly", minimum=1)
    fits_kept: int = setting(2, "fits of the model of which the branches are learned from", minimum=1)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield self.branches % self.members == 0, "branches must be a multiple of members, which take turns on them"
        yield not self.prioritized, "prioritized must be false: imagined transitions have no priorities"
        yield (self.branch_length_from < self.branch_length_until,
               "branch_length_from must be less than branch_length_until")

    def length_at(self, env_steps: int) -> int:
        """Steps of a branch after so many environment steps."""
        first, last = self.branch_length_from, self.branch_length_until
        done = min(1.0, max(0.0, (env_steps - first) / (last - first)))
        return int(self.branch_length + done * (self.branch_length_end - self.branch_length))


class MBPO(ModelBasedSAC):
    """Learner for `num_envs` robots; see `MBPOConfig`.

    After each fit of the model the present policy is imagined from states that were observed, a few steps from each;
    each step is of one of the model's networks, drawn for each row, with noise as large as that network errs. SAC
    learns from these imagined transitions and a few that happened; no gradient goes through the model.

    Differs from the paper in: 4 gradient steps per environment step instead of 20;
    20 branches per environment step instead of 400; four networks with one figure of noise for each output, all of them
    used, instead of the best five of seven Gaussian ones; the reward is computed, not learned; states without contact
    forces, as the authors' own Ant has them.
    """

    name = "mbpo"
    config: MBPOConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._imagined = ImaginedRows(self.action_size)
        # Not by XLA, which compiles anew for each number of rows.
        self._imagine = tf.function(self._imagined_step, autograph=False, input_signature=[
            tf.TensorSpec(shape) for shape in ((None, STATE_SIZE), (None, self.action_size),
                                               (None, self.model.ensemble.outputs), (STATE_SIZE,), (STATE_SIZE,))])

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**super().save(), **{f"imagined_{name}": array for name, array in self._imagined.save().items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        super().restore(state)
        self._imagined.restore(checkpoint.Part(state, "imagined_"))

    def _refitted(self) -> dict[str, float]:
        """Imagine branches anew, and forget those of models long gone."""
        config, (mean, std) = self.config, self._scale()
        length = config.length_at(self.env_steps)
        state = state_of(self.experience.replay.sample(config.branches).observation)
        parts = []
        for _ in range(length):
            rows = len(state) - len(state) % config.members  # as many as its networks can share
            state = self.rng.permutation(state)[:rows]
            if not rows:
                break
            noise = [self.rng.standard_normal((rows, size), np.float32)
                     for size in (self.action_size, self.model.ensemble.outputs)]
            action, following, reward, ended = (x.numpy() for x in self._imagine(state, *noise, mean, std))
            parts.append(ImaginedBatch(state, action, following, reward, ended))
            state = following[~ended]
        self._imagined.add_fit(parts, config.fits_kept)
        return {"branch_length": float(length), "imagined_rows": float(len(self._imagined))}

    def _imagined_step(self, state: tf.Tensor, action_noise: tf.Tensor, noise: tf.Tensor, mean: tf.Tensor,
                       std: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Action, next state, reward and whether it ends there, of rows [m, 27]."""
        before = self.model.begin(state)
        action, _ = self._sample(self._seen(state, mean, std), action_noise)
        after = self.model.step_in_turn(before, action, noise=noise)
        return action, after.state, default_reward(before, action, after), default_end(after)

    def _gradient_step(self) -> dict[str, float]:
        happened, config, (mean, std) = self.experience.draw(), self.config, self._scale()
        count = max(1, round(config.real_share * config.batch_size))
        imagined = self._imagined.sample(config.batch_size - count, self.rng)
        observation = np.concatenate([state_of(happened.observation[:count]), self._seen(imagined.state, mean, std)])
        following = np.concatenate([state_of(happened.next_observation[:count]),
                                    self._seen(imagined.next_state, mean, std)])
        action = np.concatenate([happened.action[:count], imagined.action])
        reward = np.concatenate([happened.reward[:count], imagined.reward])
        discount = np.concatenate([happened.discount[:count], config.discount * ~imagined.ended], dtype=np.float32)
        noise = self.rng.standard_normal((2, *action.shape), np.float32)
        metrics, _ = self._learn_critics(observation, action, reward, discount, following,
                                         np.ones_like(reward), noise[0])
        found = dict(zip(CRITIC_METRICS, metrics.numpy().tolist(), strict=True))
        if self.experience.updates % config.actor_interval == 0:
            found |= zip(ACTOR_METRICS, self._learn_actor(observation, noise[1]).numpy().tolist(), strict=True)
        return found
