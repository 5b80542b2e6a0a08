"""An actor with a memory and its critic, and rollouts as they take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from ant_rl_core.bundle import INPUTS, Bundle
from ant_rl_core.step import Previous
from policy_node.actor import BundleActor, load_actor
from trainer.algorithms.meta.rl2_config import RL2Config
from trainer.algorithms.on_policy.actor_critic import ActorCritic
from trainer.algorithms.on_policy.heads import CategoricalHead, GaussianHead, Head
from trainer.buffers.rollout import RolloutBuffer, generalized_advantages
from trainer.networks.mlp import first_seed, mlp
from trainer.networks.recurrent_actor import NumpyRecurrentActor, RecurrentActor

# Numbers of a task that a critic is told; shorter tasks are filled up with zeros.
TASK_SIZE = 64
# Observations that a policy to go on from has seen, so that its statistics don't follow the first rollouts.
_SEEN_BEFORE = 1e5


class RecurrentActorCritic(ActorCritic):
    """An actor with a memory, and a critic of its own that looks into it.

    The critic takes the observation, what the actor remembers, from which it sends no gradient back, and the task where
    `privileged_critic` says so.

    Args:
        config, observation_size, action_size: as of the base class.
        seeds: of the actor, of the critic and of the exploration.

    Attributes:
        actor: see `RecurrentActor`.
        critic: from the above, side by side, to the scaled value.
    """

    def __init__(self, config: RL2Config, observation_size: int, action_size: int,
                 seeds: Sequence[np.random.SeedSequence]) -> None:
        actor_seed, critic_seed, noise_seed = seeds
        super().__init__(config, observation_size, action_size, noise_seed, _head(config, action_size))
        self.actor = RecurrentActor(
            observation_size, action_size, seed=first_seed(actor_seed), cell=config.cell,
            memory_size=config.memory_size if config.memory else 0, input_hidden=config.input_hidden,
            hidden=config.actor_hidden, reward_scale=config.reward_scale, reward_clip=config.reward_clip)
        self._told = config.privileged_critic
        self.critic = mlp(observation_size + self.actor.memory_size + self._told * TASK_SIZE, config.critic_hidden, 1,
                          output_gain=1.0, seed=first_seed(critic_seed), name="critic")
        self.variables = [*self.actor.variables, *self.head.variables, *self.critic.trainable_variables]
        self.graph = self.head.graph(self.actor.network, self.normalize)
        self._assess = tf.function(self._assessed, jit_compile=True, autograph=False)
        shapes = dict(zip(INPUTS, (observation_size, action_size, 1, 1), strict=True))
        self._values = tf.function(self._one_value, autograph=False, input_signature=[
            {name: tf.TensorSpec((None, size), tf.float32) for name, size in shapes.items()},
            tuple(tf.TensorSpec((None, *shape), tf.float32) for shape in self.actor.state_shapes),
            tf.TensorSpec((None, TASK_SIZE), tf.float32)])
        self.renew()

    # -- acting ------------------------------------------------------------------------------------------------------

    def act(self, observation: np.ndarray, previous: Previous, state: tuple[np.ndarray, ...],
            reset_mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        """See the base class; memory and what happened before are zeros in the rows of `reset_mask`."""
        output, state = self.run(observation, previous, state, reset_mask)
        action, log_prob = self.head.draw(output, self.noise)
        return action, {"log_prob": log_prob}, state

    def run(self, observation: np.ndarray, previous: Previous, state: tuple[np.ndarray, ...],
            reset_mask: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """What the acting copy of the actor gives, [n, action_size], and its states after; arguments as of `act`."""
        before, keep = previous.forgotten(reset_mask), ~reset_mask[:, None]
        return self._acting(inputs_of(self.normalize(observation), before.action, before.reward, before.done),
                            tuple(each * keep for each in state))

    def renew(self) -> None:
        """From now on act by what was learned."""
        super().renew()
        self._acting = NumpyRecurrentActor(self.actor)

    # -- learning ----------------------------------------------------------------------------------------------------

    def evaluate(self, *data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See the base class; of what `SequenceBatch.data` gives, densities and values are [T, n]."""
        log_prob, value, entropy, _ = self._run_through(data)
        return log_prob, value, entropy

    def assess(self, data: Sequence[tf.Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-densities and values in units of reward, each [T, n], and the states after each tick, [T, n, k]."""
        log_prob, value, states = (each.numpy() for each in self._assess(*data))
        return log_prob, value * self.return_scale(), states

    def value(self, inputs: Mapping[str, np.ndarray], state: tuple[np.ndarray, ...], task: np.ndarray) -> np.ndarray:
        """Values float32 [m], in units of reward.

        Args:
            inputs: what the actor takes, by name, [m, size]; observations normalized.
            state: before it takes that, [m, …] each.
            task: [m, TASK_SIZE].
        """
        return self._values(inputs, state, task).numpy() * self.return_scale()

    def begin_from(self, bundle: Bundle) -> None:
        """Take actor, width and statistics of a policy; ValueError where it is of another kind or of other sizes."""
        others, manifest = self.actor.take(bundle), bundle.manifest
        if isinstance(self.head, GaussianHead) and "log_std/bias" in others:
            self.head.log_std.assign(np.maximum(others["log_std/bias"], np.log(self.config.min_std)))
        found, statistics = manifest.observation_statistics, self.normalize.statistics
        if found:
            statistics.mean, statistics.variance = (np.array(found[name]) for name in ("mean", "variance"))
            statistics.count = _SEEN_BEFORE
            self.normalize.restore(self.normalize.save(""), "")
        self.renew()
        self._check_acts_as(load_actor(bundle, "keras"))

    def _check_acts_as(self, given: BundleActor) -> None:
        """ValueError where the same weights give other actions, as with another scale of the reward."""
        rng, rows = np.random.default_rng(0), 32
        observation = self.normalize.mean + np.sqrt(self.normalize.variance) * rng.normal(
            0.0, 1.0, (rows, self.observation_size))
        previous = Previous(rng.uniform(-1.0, 1.0, (rows, self.action_size)).astype(np.float32),
                            np.linspace(-100.0, 100.0, rows, dtype=np.float32), rng.random(rows) < 0.5)
        arguments = (observation.astype(np.float32), previous, self.actor.initial_state(rows), np.zeros(rows, bool))
        if not np.allclose(given.act(*arguments)[0], self.head.best(self.run(*arguments)[0]), atol=1e-3):
            raise ValueError(f"expected a policy that acts with its weights as this one does, found one of "
                             f"{given.manifest.algorithm} that does not: set head, reward_scale, reward_clip and "
                             "observation_clip to what it was made with")

    def _run_through(self, data: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        *inputs, first, sample, task = data[:len(INPUTS) + 3]
        named = dict(zip(INPUTS, inputs, strict=True))
        state = tuple(each[0] for each in data[len(INPUTS) + 3:])
        output, _, states = self.actor.sequence(named, first, state)
        value = self._valued(named["observation"], states[:, :, :self.actor.memory_size], task)
        return self.head.log_prob(output, sample), value, self.head.entropy(output), states

    def _valued(self, observation: tf.Tensor, memory: tf.Tensor, task: tf.Tensor) -> tf.Tensor:
        known = tf.concat([observation, tf.stop_gradient(memory), *([task] if self._told else [])], axis=-1)
        return tf.reshape(self.critic(tf.reshape(known, (-1, known.shape[-1]))), tf.shape(known)[:-1])

    def _assessed(self, *data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        log_prob, value, _, states = self._run_through(data)
        return log_prob, value, states

    def _one_value(self, inputs: Mapping[str, tf.Tensor], state: tuple[tf.Tensor, ...], task: tf.Tensor) -> tf.Tensor:
        _, _, state = self.actor.step(inputs, state)
        observation = inputs["observation"]
        return self._valued(observation, state[0] if state else observation[:, :0], task)


@dataclass(frozen=True)
class SequenceBatch:
    """A rollout as networks with a memory take it: whole rows, from the state stored at its start.

    Attributes:
        buffer: the rollout, with states.
        tensors: see `data`.
        cut: see `RolloutBuffer.trial_cuts`, bool [T, n].
        successors: what the networks take one tick after the cut ticks, [cut.sum(), …] by name.
        log_prob: of what was chosen, under the policy before it learns from this, [T, n].
    """

    buffer: RolloutBuffer
    tensors: tuple[tf.Tensor, ...]
    cut: np.ndarray
    successors: Mapping[str, np.ndarray]
    log_prob: np.ndarray

    @classmethod
    def from_buffer(cls, buffer: RolloutBuffer, model: RecurrentActorCritic) -> SequenceBatch:
        """Prepare a full rollout."""
        cut, on = buffer.trial_cuts(), ~buffer.trial_last
        inputs = inputs_of(_normalized(buffer.observation, model), buffer.previous_action, buffer.previous_reward,
                         buffer.previous_done)
        arrays = [*inputs.values(), buffer.trial_first, model.head.samples(buffer.action), buffer.task,
                  *(state[:1] for state in buffer.states)]
        # A trial that was cut off by its time limit has no end that could be told of.
        done = (buffer.terminated | buffer.truncated) & on
        successors = inputs_of(model.normalize(buffer.next_observation[cut]), buffer.action[cut], buffer.reward[cut],
                             done[cut])
        tensors = tuple(tf.constant(array.astype(np.float32)) for array in arrays)
        return cls(buffer, tensors, cut, successors, model.assess(tensors)[0])

    def data(self) -> tuple[tf.Tensor, ...]:
        """The four inputs, where trials begin, samples, tasks, each [T, n, …], and the first states, [1, n, …]."""
        return self.tensors

    def samples(self, array: np.ndarray) -> tf.Tensor:
        """See `Rollout`."""
        return tf.constant(array, tf.float32)

    def old_log_prob(self, model: RecurrentActorCritic) -> tf.Tensor:
        """See `Rollout`."""
        return self.samples(self.log_prob)

    def advantages(self, model: RecurrentActorCritic) -> tuple[np.ndarray, np.ndarray]:
        """See `Rollout`. Sums run across the ends of episodes within a trial, which are no ends of the return."""
        buffer, cut = self.buffer, self.cut
        _, value, states = model.assess(self.tensors)
        next_value = np.roll(value, -1, axis=0)
        next_value[cut] = model.value(self.successors, _split(states[cut], model), buffer.task[cut])
        advantage = generalized_advantages(buffer.reward, value, next_value, buffer.terminated & buffer.trial_last, cut,
                                           model.config.discount, model.config.gae_lambda)
        return advantage, advantage + value


def inputs_of(observation: np.ndarray, action: np.ndarray, reward: np.ndarray,
              done: np.ndarray) -> dict[str, np.ndarray]:
    """The actor's inputs by name, of a normalized observation and what happened before, [..., size]."""
    return dict(zip(INPUTS, (observation, action, reward[..., None], done[..., None].astype(np.float32)), strict=True))


def _normalized(observation: np.ndarray, model: RecurrentActorCritic) -> np.ndarray:
    return model.normalize(observation.reshape(-1, model.observation_size)).reshape(observation.shape)


def _split(states: np.ndarray, model: RecurrentActorCritic) -> tuple[Any, ...]:
    """States [m, k] that lie side by side, each by itself."""
    count = len(model.actor.state_shapes)
    return tuple(np.split(states, count, axis=1)) if count else ()


def _head(config: RL2Config, action_size: int) -> Head:
    if config.head == "categorical":
        return CategoricalHead()
    return GaussianHead(action_size, config.initial_log_std, config.min_std)
