"""RL^2: a policy whose memory finds out within a trial which task it is in (arXiv:1611.02779, arXiv:1611.05763)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.step import Transition
from trainer.algorithms.meta.kin import memory_id
from trainer.algorithms.meta.recurrent_actor_critic import TASK_SIZE, RecurrentActorCritic, SequenceBatch
from trainer.algorithms.meta.rl2_config import RL2Config
from trainer.algorithms.on_policy.base import Rollout
from trainer.algorithms.on_policy.ppo import ClippedLearner
from trainer.buffers.rollout import RolloutBuffer

__all__ = ["RL2", "RL2Config"]


class RL2(ClippedLearner):
    """Learner for `num_envs` robots; see `RL2Config`.

    The actor takes the observation and what happened before it: action, reward and whether an episode ended. Its memory
    lasts for a trial, that is for all episodes in one task, and so does the return that it is to raise: sums of rewards
    run on where an episode ends within a trial, by a fall or by a time limit, so that what is found out in one episode
    is worth what it earns in the next. Within a trial a termination is therefore no end of the return. The end of the
    trial is: by termination nothing comes after it, by truncation the critic says what would have. Without tasks each
    episode is a trial.

    A rollout is learned from as whole rows of all its ticks: the memory is computed anew from the state that was stored
    at the rollout's start, and begins with zeros where a trial does. So the ratio is 1 before the first step; by how
    much it misses that against what was drawn is told as `first_ratio_error`. Everything else is as in `PPO`.

    Differs from the paper in: PPO instead of TRPO and of A3C; a critic of its own that looks into the actor's memory
    and may be told the task (asymmetric, Pinto et al., arXiv:1710.06542); features of the inputs go to the head past
    the memory too (as in arXiv:2110.05038); gradients end at the rollout's start, also within a trial; normalization of
    observations, returns and advantages.
    """

    name = "rl2"
    config: RL2Config
    model: RecurrentActorCritic
    axis = 1  # rows

    def __init__(self, config: RL2Config, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        rows = min(num_envs, config.minibatch_rows)
        if num_envs % rows:
            raise ValueError(f"num_envs = {num_envs} must be a multiple of minibatch_rows = {rows}")
        if num_envs * config.rollout_length < 2:
            raise ValueError("rollout_length * num_envs must be at least 2 to normalize advantages, found 1")
        super().__init__(config, num_envs, observation_size, action_size, seed, robot, num_envs, rows)
        self._actor_learns = tf.Variable(1.0, trainable=False)
        self._memory_id = memory_id(self.name, seed, config)
        self._followed = self.model.actor.initial_state(num_envs)
        if config.initial_policy:
            bundle = policy_bundle.read(resolve_policy(config.initial_policy))
            bundle.check_robot(robot, observation_size, action_size)
            self.model.begin_from(bundle)

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        """See the base class."""
        return self.model.actor.initial_state(num_envs)

    def observe(self, batch: Transition) -> None:
        """As of the base class; where the state stays with the actor, as over ROS, it is computed here once more."""
        if not batch.state and self._followed and batch.previous is not None and batch.trial_first is not None:
            state = self._followed
            _, self._followed = self.model.run(batch.observation, batch.previous, state, batch.trial_first)
            batch = replace(batch, state=state)
        super().observe(batch)

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**super().save(), **{f"followed_{i}": state for i, state in enumerate(self._followed)}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a rollout of other sizes."""
        super().restore(state)
        self._followed = tuple(state[f"followed_{i}"].copy() for i in range(len(self._followed)))

    def _make_model(self, observation_size: int, action_size: int,
                    seeds: Sequence[np.random.SeedSequence]) -> RecurrentActorCritic:
        return RecurrentActorCritic(self.config, observation_size, action_size, seeds)

    def _make_buffer(self) -> RolloutBuffer:
        model = self.model
        return RolloutBuffer(self.config.rollout_length, self.num_envs, model.observation_size, model.action_size,
                             model.actor.state_shapes, TASK_SIZE)

    def _rollout(self) -> SequenceBatch:
        return SequenceBatch.from_buffer(self.buffer, self.model)

    def _memory(self) -> dict[str, Any]:
        return {"memory": "trial", **({"memory_id": self._memory_id} if self.config.memory else {})}

    def _learn(self, rollout: Rollout, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        updates = self.env_steps // self.buffer.transitions  # this one included
        self._actor_learns.assign(float(updates > self.config.actor_starts))
        error = self._first_ratio_error(rollout)
        metrics, advantage, returns = super()._learn(rollout, rate_left)
        return {**metrics, **error}, advantage, returns

    def _loss(self, policy_loss: tf.Tensor, value: tf.Tensor, entropy: tf.Tensor,
              target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return super()._loss(self._actor_learns * policy_loss, value, self._actor_learns * entropy, target)

    def _first_ratio_error(self, rollout: Rollout) -> dict[str, float]:
        """The largest departure of the ratio from 1 between what was drawn and what is computed; none if not told."""
        head = self.model.head
        drawn = head.drawn_log_prob(self.buffer.log_prob, head.samples(self.buffer.action))
        told = np.isfinite(drawn)
        error = np.abs(np.exp(rollout.old_log_prob(self.model).numpy()[told] - drawn[told]) - 1.0)
        return {"first_ratio_error": float(error.max())} if told.any() else {}
