"""Imagination-augmented agents (Weber et al., arXiv:1707.06203) for continuous actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.exploration import Exploration, explore
from ant_rl_core.settings import setting
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, Transition
from trainer.algorithms.model_based.imagination import MOST_BRANCHES, Imagination, Shape
from trainer.algorithms.model_based.imagining_actor_critic import (
    ImaginedBuffer,
    ImaginingActorCritic,
    trained_numbers,
)
from trainer.algorithms.model_based.rollout_policy import RolloutPolicy
from trainer.algorithms.model_based.stages import ModelStages
from trainer.algorithms.on_policy.base import RolloutBatch
from trainer.algorithms.on_policy.ppo import PPO, PPOConfig
from trainer.checkpoint import Part
from trainer.models.copy import CopyModel
from trainer.models.interface import EnvironmentModel
from trainer.models.kinematics import STATE_SIZE
from trainer.models.perfect import PerfectModel
from trainer.networks import weights
from trainer.networks.mlp import first_seed
from trainer.networks.statistics import Normalizer


@dataclass(frozen=True)
class I2AConfig(PPOConfig):
    """Settings of I2A."""

    update: str = setting("ppo", "what learns from a rollout: ppo, or a2c, which makes one gradient step of RMSprop "
                          "from all of it and takes no notice of PPO's own settings", choices=("ppo", "a2c"))
    imagination: str = setting("learned", "by which model it imagines: a learned one, none that changes anything "
                               "(copy), a learned one that is spoiled (poor), the simulator itself (perfect), or not "
                               "at all (none): layers are then widened until as many numbers are learned as with "
                               "imagination", choices=("learned", "copy", "poor", "perfect", "none"))
    imagined_reward: bool = setting(True, "the imagined rewards are told")
    branches: int = setting(5, "first actions that are tried: what the rollout policy would do and pairs on both sides "
                            "of it", minimum=1, maximum=MOST_BRANCHES)
    horizon: int = setting(5, "imagined steps after each", minimum=1)
    candidate_size: float = setting(0.3, "how far the first actions differ, in each torque", minimum=0, maximum=2)
    code_size: int = setting(64, "of the memory that reads an imagined rollout (LSTM)", minimum=1)
    joint_size: int = setting(64, "of the layer in which what was imagined and what was seen meet", minimum=1)
    rollout_policy_hidden: tuple[int, ...] = setting((64, 64), "sizes of the hidden layers of the policy that imagined "
                                                     "robots go by", minimum=1)
    distillation_rate: float = setting(1e-3, "step size of Adam for that policy, which learns to do what the agent "
                                       "does", above=0)
    model: str = setting("", "file of a model to imagine by, as ./run model writes it; empty: it is learned first",
                         path=True)
    random_steps: int = setting(16_384, "environment steps with random torques at the start, for the model", minimum=0)
    model_steps: int = setting(100_000, "environment steps after which the model is learned and imagining begins; "
                               "until then the agent learns without", minimum=1)
    model_hidden: tuple[int, ...] = setting((184, 184), "sizes of the hidden layers of the learned model", minimum=1)
    model_batches: int = setting(6000, "gradient steps of the model, at most, each time", minimum=1)
    model_interval: int = setting(0, "updates of the agent after which the model is learned again from all that came; "
                                  "0: never", minimum=0)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (self.branches % 2 == 1, "branches must be odd: what the rollout policy would do, and pairs on both "
               "sides of it")
        yield bool(self.model_hidden), "model_hidden must name at least one layer"
        yield (not self.model or self.imagination in ("learned", "poor"),
               "model must be left out where imagination is neither learned nor poor")

    @property
    def needs_robots(self) -> bool:
        """Whether it learns only where it can look into the simulation: in one process."""
        return self.imagination == "perfect"

    def shape(self) -> Shape | None:
        """How much is imagined; None: nothing."""
        return None if self.imagination == "none" else Shape(self.branches, self.horizon, self.candidate_size,
                                                             self.imagined_reward)


class I2A(PPO):
    """Learner for `num_envs` robots; see `I2AConfig`.

    Before it acts the agent imagines what would come of a few first actions, each gone on from by the rollout policy in
    a model of the environment. An LSTM reads each imagined rollout from its end to its beginning; its codes and what is
    observed go to the actor and the critic. The rollout policy is distilled from the agent. PPO learns from what was
    imagined when it was acted, which the rollout keeps: its ratios are between densities given the same.

    First the agent learns without imagining, after some random torques, and what happens is kept for the model; after
    `model_steps` the model is learned, and frozen.

    Differs from the paper in: PPO instead of A3C (A2C by a setting); of continuous actions not each is tried, but that
    of the rollout policy and pairs on both sides of it in fixed directions; the model predicts kinematic numbers, from
    which reward and end are computed by their known formulas; after an imagined end all is zero, and each step says
    whether there was one; the distillation has its own optimizer, and is the divergence of Gaussians as wide as the
    agent's; the agent that collects for the model goes on as the imagining one, whose weights for what is imagined are
    zero at first; encoder shared by actor and critic, their other layers not; normalization of observations, returns
    and advantages as in PPO here.
    """

    name = "i2a"
    config: I2AConfig
    model: ImaginingActorCritic
    buffer: ImaginedBuffer

    def __init__(self, config: I2AConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        if config.imagination != "none" and (observation_size < STATE_SIZE or action_size != ANT.action_size):
            raise ValueError(f"i2a imagines an Ant, expected {STATE_SIZE} observations or more and {ANT.action_size} "
                             f"actions, found {observation_size} and {action_size}: use imagination:=none")
        if config.update == "a2c":
            config = replace(config, epochs=1, minibatch_size=config.rollout_length * num_envs, desired_kl=0.0,
                             target_kl=0.0)
        policy_seed, model_seed = np.random.SeedSequence(seed).spawn(5)[4].spawn(2)
        self._policy = RolloutPolicy(config.rollout_policy_hidden, config.distillation_rate,
                                     first_seed(policy_seed))
        self._stages = ModelStages(config.model, config.model_hidden, config.model_steps, config.model_batches,
                                   config.model_interval, config.imagination in ("learned", "poor", "perfect"),
                                   config.imagination == "poor", num_envs, model_seed)
        super().__init__(config, num_envs, observation_size, action_size, seed, robot)
        self.model.imagines = self._stages.begun

    def meet(self, live: VectorAnt) -> None:
        """The robots, for the perfect model."""
        if self.config.needs_robots:
            self.imagine_beside(PerfectModel(live))

    def imagine_beside(self, model: EnvironmentModel) -> None:
        """Imagine by this model, in numpy, from where the robots are; policies that are handed over go on without."""
        assert self.model.imagination is not None
        self.model.imagination.beside = model

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """See the base class; random torques at first."""
        if not self._is_random:
            return super().act(observation, previous, state, reset_mask)
        nothing = np.zeros((len(observation), self.model.imagined_size), np.float32)
        action, extras = explore(Exploration("uniform"), {"action": np.zeros((len(observation), self.model.action_size),
                                                                             np.float32)}, self.model.noise)
        return action, {**extras, "imagined": nothing}, state

    def observe(self, batch: Transition) -> None:
        """See the base class; what was imagined is imagined again where nobody tells it, as over ROS."""
        if "imagined" not in batch.extras:
            imagined = self.model.imagine(batch.observation)
            batch = replace(batch, extras={**batch.extras, "imagined": imagined})
        super().observe(batch)
        self._stages.observe(batch)

    def update(self) -> dict[str, float]:
        """See the base class; from random torques only the model learns."""
        if self._is_random:
            metrics: dict[str, float] = {}
            self.model.learned_from(self.buffer.observation)
            self.buffer.clear()
            self.version += 1
        else:
            metrics = super().update()
        metrics |= {"imagines": float(self.model.imagines), **self._stages.after_update(self.env_steps)}
        self.model.imagines = self._stages.begun and self.model.imagination is not None
        return metrics

    def weights(self) -> dict[str, np.ndarray]:
        """See the base class."""
        return {**super().weights(), **weights.pack("distilled_", self._policy.variables())}

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**super().save(), **weights.pack("distilled_", self._policy.variables()),
                **{f"model_{name}": array for name, array in self._stages.save().items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a rollout of other sizes."""
        weights.check("distilled_", self._policy.variables(), state)
        weights.check("variable_", [*self.model.variables, *weights.of_optimizer(self.optimizer)], state)
        self._stages.restore(Part(state, "model_"))
        self._policy.restore(state, "distilled_")
        super().restore(state)
        self.model.imagines = self._stages.begun and self.model.imagination is not None

    # -- of the bases ------------------------------------------------------------------------------------------------

    def _learn(self, rollout: Any, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        metrics, advantage, returns = super()._learn(rollout, rate_left)
        if self.model.imagination:
            order = self.rng.permutation(self._num_samples).reshape(-1, self._minibatch_samples)
            mean = self.model.mean_of(rollout.observation)
            metrics["distillation"] = self._policy.learn(tf.constant(rollout.observation[:, :STATE_SIZE]),
                                                         tf.constant(mean), tf.exp(self.model.log_std), order)
        return metrics, advantage, returns

    def _rollout(self) -> RolloutBatch:
        buffer, model = self.buffer, self.model
        cut, size = buffer.cuts(), model.observation_size
        rows = model.rows(buffer.observation.reshape(-1, size), buffer.imagined.reshape(cut.size, model.imagined_size))
        return RolloutBatch(buffer, rows, model.head.samples(buffer.action.reshape(-1, model.action_size)), cut,
                            model.rows(buffer.next_observation[cut], self._imagined_after(cut)))

    def _imagined_after(self, cut: np.ndarray) -> np.ndarray:
        """What is imagined after the cut ticks, [cut.sum(), imagined_size].

        A model beside can't be asked where robots are no more: there it is what was imagined the tick before.
        """
        if self.model.imagination is None or self.model.imagination.beside is not None:
            return self.buffer.imagined[cut]
        after = self.buffer.next_observation[cut]
        # As many at a time as there are robots, of which the function is compiled.
        parts = [after[first:first + self.num_envs] for first in range(0, len(after), self.num_envs)]
        missing = self.num_envs - len(parts[-1])
        parts[-1] = np.concatenate([parts[-1], np.repeat(parts[-1][:1], missing, axis=0)])
        return np.concatenate([self.model.imagine(each) for each in parts])[:len(after)]

    def _make_model(self, observation_size: int, action_size: int,
                    seeds: Sequence[np.random.SeedSequence]) -> ImaginingActorCritic:
        config, shape = self.config, self.config.shape()
        scale = 1.0 if shape else _equal_scale(config, observation_size, action_size)

        def imagination(normalizer: Normalizer) -> Imagination:
            assert shape is not None
            model = CopyModel() if config.imagination == "copy" else self._stages.dense
            return Imagination(shape, model, self._policy, normalizer, observation_size)
        return ImaginingActorCritic(config, observation_size, action_size, seeds, shape, imagination,
                                    config.joint_size, config.code_size, scale)

    def _make_buffer(self) -> ImaginedBuffer:
        return ImaginedBuffer(self.config.rollout_length, self.num_envs, self.model.observation_size,
                              self.model.action_size, self.model.imagined_size)

    def _make_optimizer(self, config: I2AConfig) -> keras.optimizers.Optimizer:
        if config.update == "a2c":
            return keras.optimizers.RMSprop(config.learning_rate, 0.99, epsilon=1e-5)
        return super()._make_optimizer(config)

    def _memory(self) -> dict[str, Any]:
        return {"exploration": Exploration("uniform")} if self._is_random else {}

    @property
    def _is_random(self) -> bool:
        """Whether the present rollout is of random torques."""
        begun = self.env_steps - self.buffer.transitions
        return begun < self.config.random_steps and self.config.imagination != "none" and not self.config.model


def _equal_scale(config: I2AConfig, observation_size: int, action_size: int) -> float:
    """What the layers of an agent that does not imagine are multiplied by, to learn as much as one that does."""
    hidden, outputs = (config.actor_hidden, config.critic_hidden), (action_size, 1)
    shape = replace(config, imagination="copy", model="").shape()
    target = trained_numbers(hidden, outputs, observation_size, config.joint_size, config.code_size, shape)
    scale = 1.0
    while trained_numbers(hidden, outputs, observation_size, config.joint_size, scale=scale) < target:
        scale += 1 / 256
    return scale
