"""A recurrent estimator of the task in front of a frozen policy (the structure of RMA, arXiv:2107.04034).

The torque that a motor gave is seen in how the robot moved; the product with what was sent says how it is wired. So the
network makes such products itself ("evidence") and adds them up, beside a memory of the usual kind (GRU). Sums fade, at
a rate that is learned, so that a task that changes is found out again.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ant_rl_core.step import Previous, Transition
from trainer.algorithms.meta.guides import Guide
from trainer.export.policy_graph import PolicyGraph
from trainer.networks.mlp import dense
from trainer.networks.recurrent import State, unroll

NUM_KINEMATICS = 27  # of Ant-v5's observation: positions and velocities; what follows are contact forces
_LEAST_STD = 1e-3
_FADING = 5.0  # sums lose 1 / (1 + exp(5)) per tick at the start of learning: they remember some 150 ticks

Arrays = tuple[np.ndarray, ...]


class Estimator:
    """Estimates the task from what happened, and drives by it; see `guided.Student`.

    Args:
        guide: what is estimated, and what for.
        policy: from observations to actions, frozen.
        observation_size, action_size: sizes of the robot.
        hidden: sizes of the two layers that see a tick.
        memory_size: of the GRU.
        seeds: of the layers' weights.

    Attributes:
        variables: what is learned.
        graph: for bundles.
    """

    def __init__(self, guide: Guide, policy: keras.Model, observation_size: int, action_size: int,
                 hidden: Sequence[int], memory_size: int, seeds: np.random.SeedSequence) -> None:
        self._guide, self._policy = guide, policy
        self._sizes = (memory_size, guide.products, NUM_KINEMATICS + 1)
        numbers = iter(seeds.generate_state(len(hidden) + 6).tolist())
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
        network = self._network(observation_size, action_size)
        self._readout.set_weights([guide.readout()])
        layers = [*self._see, self._gates, self._fade, self._memory, self._answer, self._readout]
        self.variables: list[keras.Variable] = [v for layer in layers for v in layer.trainable_variables]
        self._statistics = self._scale.non_trainable_variables
        self.graph = PolicyGraph(network, lambda x: {"action": x[:, :action_size], "belief": x[:, action_size:]})
        self._acting = tf.function(self._act, jit_compile=True, autograph=False)
        self._expert = tf.function(lambda observation, labels: self._drive(observation, guide.certain(labels)),
                                   jit_compile=True, autograph=False)

    def initial_state(self, num_envs: int) -> Arrays:
        """Zeros: memory, sums of evidence, and what was seen before."""
        return tuple(np.zeros((num_envs, size), np.float32) for size in self._sizes)

    def act(self, observation: np.ndarray, previous: Previous, state: Arrays) -> tuple[np.ndarray, Arrays]:
        """Actions float32 [n, action_size] and the state after."""
        action, following = self._acting(tf.constant(observation), tf.constant(previous.action),
                                         tuple(map(tf.constant, state)))
        return action.numpy(), tuple(each.numpy() for each in following)

    def expert(self, observation: np.ndarray, task: np.ndarray) -> np.ndarray:
        """What one who is told the task does."""
        return self._expert(tf.constant(observation), tf.constant(self._guide.labels(task))).numpy()

    def lesson(self, batch: Transition, previous: Previous) -> dict[str, np.ndarray]:
        """What of a tick is learned from."""
        return {"seen": batch.observation[:, :NUM_KINEMATICS], "action": previous.action,
                "labels": self._guide.labels(batch.task)}

    def begin(self, lessons: dict[str, np.ndarray]) -> None:
        """Scale what is seen by the first lessons, each array [T, n, ...]."""
        rows = lessons["seen"].reshape(-1, NUM_KINEMATICS)
        for variable, value in zip(self._statistics, (rows.mean(axis=0), rows.var(axis=0)), strict=True):
            variable.assign(value)

    def loss(self, lessons: dict[str, tf.Tensor], state: State) -> tf.Tensor:
        """Of consecutive lessons, each array [T, n, ...]; `first` among them tells where the memory begins anew."""
        logits = unroll(self._step, (lessons["seen"], lessons["action"]), lessons["first"], state)
        shape = (-1, self._guide.size)
        return tf.reduce_mean(self._guide.loss(tf.reshape(logits, shape), tf.reshape(lessons["labels"], shape)))

    @property
    def fixed(self) -> list[keras.Variable]:
        """What a checkpoint must hold beside `variables`."""
        return list(self._statistics)

    def _step(self, inputs: State, state: State) -> tuple[tf.Tensor, State]:
        """Logits [n, size] and the state after, of what is seen [n, NUM_KINEMATICS] and what was sent before."""
        seen, action = inputs
        memory, sums, kept = state
        before, started = kept[:, :-1], kept[:, -1:]
        x = self._scale(seen, training=False)
        change = started * (x - before)
        y = ops.concatenate([x - change, x, change, action], axis=-1)
        for layer in self._see:
            y = layer(y)
        evidence = self._guide.evidence(self._gates(y), action)
        sums = self._fade(y) * sums + evidence
        output, (memory,) = self._memory(ops.concatenate([y, evidence], axis=-1), [memory])
        kept = ops.concatenate([x, ops.ones_like(started)], axis=-1)
        return self._answer(output) + self._readout(sums), (memory, sums, kept)

    def _drive(self, observation: tf.Tensor, belief: tf.Tensor) -> tf.Tensor:
        return self._guide.command(self._policy(observation), belief)

    def _act(self, observation: tf.Tensor, action: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        logits, state = self._step((observation[:, :NUM_KINEMATICS], action), state)
        return self._drive(observation, self._guide.belief(logits)), state

    def _network(self, observation_size: int, action_size: int) -> keras.Model:
        sizes = {"observation": observation_size, "previous_action": action_size,
                 **{f"state_{i}": size for i, size in enumerate(self._sizes)}}
        inputs = {name: keras.Input((size,), dtype="float32", name=name) for name, size in sizes.items()}
        observation = inputs["observation"]
        logits, states = self._step((observation[:, :NUM_KINEMATICS], inputs["previous_action"]),
                                    tuple(inputs[f"state_{i}"] for i in range(len(self._sizes))))
        belief = self._guide.belief(logits)
        output = ops.concatenate([self._drive(observation, belief), belief], axis=-1)
        return keras.Model(inputs, {"output": output, **{f"state_{i}": each for i, each in enumerate(states)}},
                           name="adaptive")
