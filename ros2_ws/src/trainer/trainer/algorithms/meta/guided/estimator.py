"""A recurrent estimator of the task in front of a frozen policy (the structure of RMA, arXiv:2107.04034).

The torque that a motor gave is seen in how the robot moved; the product with what was sent says how it is wired. So the
network makes such products itself ("evidence") and adds them up, beside a memory of the usual kind (GRU). Sums fade, at
a rate that is learned, so that a task that changes is found out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ant_env_node.tasks import symmetry
from ant_rl_core.step import Previous, Transition
from trainer.algorithms.meta.guided.contract import Guide, Tick
from trainer.algorithms.meta.guided.experts import Expert, GuidedExpert
from trainer.export.policy_graph import PolicyGraph
from trainer.networks import weights
from trainer.networks.mlp import dense
from trainer.networks.recurrent import State, unroll

NUM_KINEMATICS = symmetry.CONTACTS.start  # of Ant-v5's observation: positions and velocities
_LEAST_STD = 1e-3
_FADING = 5.0  # sums lose 1 / (1 + exp(5)) per tick at the start of learning: they remember some 150 ticks

_ESTIMATING = 3  # states of the estimate itself: the memory, the sums, what was seen and sent before

Arrays = tuple[np.ndarray, ...]


class Estimator:
    """Estimates the task from what happened, and drives by it; see `guided_rl2.Student`.

    Args:
        guide: what is estimated, and what for.
        policy: from observations to actions, frozen.
        observation_size, action_size: sizes of the robot.
        hidden: sizes of the two layers that see a tick.
        memory_size: of the GRU.
        seeds: of the layers' weights.

    Attributes:
        expert: who is told the task; None where nobody can take over.
        variables: what is learned.
        graph: for bundles.
    """

    _further_states: tuple[int, ...] = ()  # sizes of states that `_drive` needs

    def __init__(self, guide: Guide, policy: keras.Model, observation_size: int, action_size: int,
                 hidden: Sequence[int], memory_size: int, seeds: np.random.SeedSequence) -> None:
        self.expert: Expert | None = self._make_expert(guide, policy)
        self._guide, self._policy = guide, policy
        self._action_size = action_size
        kept = NUM_KINEMATICS + 1 + guide.lags * action_size
        self._sizes = (memory_size, guide.products, kept, *self._further_states)
        numbers = iter(seeds.generate_state(len(hidden) + 10).tolist())
        self._scale = keras.layers.BatchNormalization(center=False, scale=False, epsilon=_LEAST_STD**2, name="scale")
        self._see = [dense(size, next(numbers), activation="relu", name=f"see_{i}") for i, size in enumerate(hidden)]
        self._gates = dense(guide.gates, next(numbers), name="gates")
        self._fade = keras.layers.Dense(guide.products, "sigmoid", kernel_initializer="zeros", name="fade",
                                        bias_initializer=keras.initializers.Constant(_FADING))
        self._memory = keras.layers.GRUCell(
            memory_size, name="memory", kernel_initializer=keras.initializers.GlorotUniform(next(numbers)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(numbers)))
        self._answer = dense(guide.size, next(numbers), name="answer")
        self._readout = keras.layers.Dense(guide.size, use_bias=False, name="readout")
        layers = [*self._see, self._gates, self._fade, self._memory, self._answer, self._readout,
                  *self._further_layers(numbers)]
        network = self._network(observation_size)
        self._readout.set_weights([guide.readout()])
        self.variables: list[keras.Variable] = [v for layer in layers for v in layer.trainable_variables]
        self._statistics = self._scale.non_trainable_variables
        self.graph = PolicyGraph(network, lambda x: {"action": x[:, :action_size], "belief": x[:, action_size:]})
        self._acting = tf.function(self._act, jit_compile=True, autograph=False)

    def initial_state(self, num_envs: int) -> Arrays:
        """Zeros: memory, sums of evidence, and what was seen and sent before."""
        return tuple(np.zeros((num_envs, size), np.float32) for size in self._sizes)

    def act(self, observation: np.ndarray, previous: Previous, state: Arrays) -> tuple[np.ndarray, Arrays]:
        """Actions float32 [n, action_size] and the state after."""
        action, following = self._acting(tf.constant(observation), tf.constant(previous.action),
                                         tf.constant(previous.reward[:, None]), tuple(map(tf.constant, state)))
        return action.numpy(), tuple(each.numpy() for each in following)

    def renew(self) -> None:
        """It acts by what was learned at once."""

    def lesson(self, batch: Transition, previous: Previous) -> dict[str, np.ndarray]:
        """What of a tick is learned from."""
        assert batch.task is not None
        return {"seen": batch.observation[:, :NUM_KINEMATICS], "action": previous.action,
                "reward": previous.reward[:, None], "task": self._guide.labels(batch.task)}

    def begin(self, lessons: dict[str, np.ndarray]) -> None:
        """Scale what is seen by the first lessons, each array [T, n, ...]."""
        rows = lessons["seen"].reshape(-1, NUM_KINEMATICS)
        for variable, value in zip(self._statistics, (rows.mean(axis=0), rows.var(axis=0)), strict=True):
            variable.assign(value)

    def varied(self, lessons: dict[str, np.ndarray], order: np.random.Generator) -> dict[str, np.ndarray]:
        """See `guided_rl2.Student`."""
        return lessons

    def loss(self, lessons: dict[str, tf.Tensor], state: State) -> tf.Tensor:
        """Of consecutive lessons, each array [T, n, ...]; `first` among them tells where the memory begins anew."""
        inputs = (lessons["seen"], lessons["action"], lessons["reward"])
        outputs = unroll(self._step, inputs, lessons["first"], state[:_ESTIMATING])
        return self._loss({name: _flat(array) for name, array in lessons.items() if name != "first"}, _flat(outputs))

    def save(self) -> dict[str, np.ndarray]:
        """What a checkpoint must hold beside `variables`."""
        return weights.pack("scale_", self._statistics)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave, with `variables` as they were."""
        weights.unpack("scale_", self._statistics, state)

    # -- for those that know more ------------------------------------------------------------------------------------

    def _make_expert(self, guide: Guide, policy: keras.Model) -> Expert | None:
        return GuidedExpert(policy, guide)

    def _further_layers(self, seeds: Iterator[int]) -> list[keras.layers.Layer]:
        """Layers that `_drive` needs."""
        return []

    def _drive(self, observation: Any, outputs: Any, belief: Any, state: State) -> tuple[Any, State]:
        """Actions [n, action_size] for observations as they come, what `_step` gave, and the belief made of that.

        It may have states of its own, of `_further_states`, that matter for nothing but acting.
        """
        return self._guide.command(self._policy(self._guide.view(observation, belief)), belief), state

    def _loss(self, lessons: dict[str, tf.Tensor], outputs: tf.Tensor) -> tf.Tensor:
        """Of lessons [m, ...] and what `_step` gave for them."""
        return tf.reduce_mean(self._guide.loss(outputs[:, :self._guide.size], lessons["task"]))

    # ----------------------------------------------------------------------------------------------------------------

    def _step(self, inputs: State, state: State) -> tuple[tf.Tensor, State]:
        """What is seen [n, NUM_KINEMATICS], and was sent and given before, to the outputs and the state after.

        Outputs are, side by side: the estimate [n, guide.size], what the memory gives [n, memory_size], and the
        actions sent, the newest first [n, (1 + lags) * action_size].
        """
        seen, action, reward = inputs
        memory, sums, kept = state
        before, started, earlier = (kept[:, :NUM_KINEMATICS], kept[:, NUM_KINEMATICS:NUM_KINEMATICS + 1],
                                    kept[:, NUM_KINEMATICS + 1:])
        x = self._scale(seen, training=False)
        change = started * (x - before)
        sent = ops.concatenate([action, earlier], axis=-1)
        y = ops.concatenate([x - change, x, change, sent, *([reward] if self._guide.takes_reward else [])], axis=-1)
        for layer in self._see:
            y = layer(y)
        evidence = started * self._guide.evidence(self._gates(y), Tick(seen, sent, reward))
        sums = self._fade(y) * sums + evidence
        remembered, (memory,) = self._memory(ops.concatenate([y, evidence], axis=-1), [memory])
        # An empty slice is all of it for LiteRT.
        kept_sent = [sent[:, :self._guide.lags * self._action_size]] if self._guide.lags else []
        kept = ops.concatenate([x, ops.ones_like(started), *kept_sent], axis=-1)
        estimate = self._estimate(remembered, sums)
        return ops.concatenate([estimate, remembered, sent], axis=-1), (memory, sums, kept)

    def _estimate(self, remembered: Any, sums: Any) -> Any:
        return self._answer(remembered) + self._readout(sums)

    def _act(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor,
             state: State) -> tuple[tf.Tensor, State]:
        action, _, state = self._whole(observation, action, reward, state)
        return action, state

    def _whole(self, observation: Any, action: Any, reward: Any, state: State) -> tuple[Any, Any, State]:
        """Action, belief, and the states after."""
        outputs, estimating = self._step((observation[:, :NUM_KINEMATICS], action, reward), state[:_ESTIMATING])
        belief = self._guide.belief(outputs[:, :self._guide.size])
        action, driving = self._drive(observation, outputs, belief, state[_ESTIMATING:])
        return action, belief, (*estimating, *driving)

    def _network(self, observation_size: int) -> keras.Model:
        sizes = {"observation": observation_size, "previous_action": self._action_size,
                 **({"previous_reward": 1} if self._guide.takes_reward else {}),
                 **{f"state_{i}": size for i, size in enumerate(self._sizes)}}
        inputs = {name: keras.Input((size,), dtype="float32", name=name) for name, size in sizes.items()}
        observation = inputs["observation"]
        action, belief, states = self._whole(observation, inputs["previous_action"], inputs.get("previous_reward"),
                                             tuple(inputs[f"state_{i}"] for i in range(len(self._sizes))))
        output = ops.concatenate([action, belief], axis=-1)
        return keras.Model(inputs, {"output": output, **{f"state_{i}": each for i, each in enumerate(states)}},
                           name="adaptive")


class Proportions(Estimator):
    """An estimator that reads its sums by their proportions, too: how far something went for what was spent on it."""

    def _further_layers(self, seeds: Iterator[int]) -> list[keras.layers.Layer]:
        self._solve = dense(64, next(seeds), activation="relu", name="solve")
        self._solved = dense(self._guide.size, next(seeds), name="solved")
        return [self._solve, self._solved]

    def _proportions(self, sums: Any) -> Any:
        """Of the sums [n, guide.products], numbers whose size does not depend on how long they were added up."""
        raise NotImplementedError

    def _estimate(self, remembered: Any, sums: Any) -> Any:
        x = ops.concatenate([self._proportions(sums), remembered], axis=-1)
        return super()._estimate(remembered, sums) + self._solved(self._solve(x))


def _flat(array: tf.Tensor) -> tf.Tensor:
    """[T, n, ...] as [T * n, ...]."""
    return tf.reshape(array, (-1, *array.shape[2:]))
