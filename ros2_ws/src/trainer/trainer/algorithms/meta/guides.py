"""What has to be known of a task before a policy that was not made for it can be used, and how it is used then.

A guide stands between a frozen policy and the robot. It says what is to be estimated (logits), how a belief is made of
that, what the policy is to see under this belief and what of its action reaches the motors. Where the belief is the
truth, policy and guide are an expert for the task, without training one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from keras import ops

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.task import NUM_ACTUATORS, fields_of
from ant_rl_core.settings import ArgumentError

_VELOCITY = 13  # where the torso's velocity begins in an observation, along x and y in the world
_NUM_PAIRS = NUM_ACTUATORS // 2  # hip and ankle of a leg lie side by side


class Tick(NamedTuple):
    """What is known of a tick; arrays [n, ...] of Keras or numpy.

    Attributes:
        seen: positions and velocities, in SI units.
        sent: actions side by side, the newest first.
        reward: for the newest of them, [n, 1].
    """

    seen: Any
    sent: Any
    reward: Any


class Guide(Protocol):
    """See the module; arrays have one row per robot, and `ops` of Keras takes numpy's arrays and tensors alike.

    Attributes:
        size: numbers that are estimated.
        gates, products: numbers that `evidence` takes and gives.
        lags: how many actions before the previous one it needs.
        takes_reward: whether the reward tells of the task.
    """

    size: int
    gates: int
    products: int
    lags: int
    takes_reward: bool

    def labels(self, task: np.ndarray) -> np.ndarray:
        """What is to be estimated, float32 [n, size], of tasks as vectors (`Task.vector`)."""

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """How wrong estimates [n, size] are, [n]."""

    def right(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Share of what is estimated right, [n]."""

    def belief(self, logits: Any) -> Any:
        """What is made of estimates."""

    def certain(self, labels: Any) -> Any:
        """The belief of one who is told."""

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """Products [n, products] of what was seen, as the network puts it [n, gates], and of what was sent or given."""

    def readout(self) -> np.ndarray:
        """What sums of products say of the estimates at the start of learning, [products, size]."""

    def view(self, observation: Any, belief: Any) -> Any:
        """What the policy is to see, of observations as they come [n, observation_size]."""

    def command(self, action: Any, belief: Any) -> Any:
        """What to send so that the policy's action comes true, each [n, action_size]."""


class _Unseen:
    """Of a task that makes the robot do other things than it is told, but changes nothing of what is to be seen."""

    def view(self, observation: Any, belief: Any) -> Any:
        """As it is."""
        return observation


class Motors(_Unseen):
    """Which motors are wired the wrong way round: a sign for each."""

    size = gates = products = NUM_ACTUATORS
    lags = 0
    takes_reward = False

    def labels(self, task: np.ndarray) -> np.ndarray:
        """1 where a motor is wired rightly, 0 where it is reversed."""
        return (fields_of(task)["gear"] > 0).astype(np.float32)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross entropy, mean over the motors [nats]."""
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), axis=-1)

    def right(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Share of right signs."""
        return ((logits > 0) == (labels > 0.5)).mean(axis=-1)

    def belief(self, logits: Any) -> Any:
        """Expected signs, as if the odds were twice as long: what is nearly known is used fully."""
        return ops.tanh(logits)

    def certain(self, labels: Any) -> Any:
        """Signs."""
        return 2.0 * labels - 1.0

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """A motor's inferred torque times what was sent to it is positive where it is wired rightly."""
        return gates * tick.sent

    def readout(self) -> np.ndarray:
        """Each product speaks for its motor."""
        return np.eye(NUM_ACTUATORS, dtype=np.float32)

    def command(self, action: Any, belief: Any) -> Any:
        """Turned round again, and weak where the sign is unknown."""
        return action * belief


class Legs(_Unseen):
    """Which leg's cables drive each leg, and whether the wrong way round: of 8 possibilities per leg, one."""

    size = _NUM_PAIRS * _NUM_PAIRS * 2  # leg, source, reversed or not
    gates = NUM_ACTUATORS
    products = _NUM_PAIRS * _NUM_PAIRS * 2  # leg, source, hip or ankle
    lags = 0
    takes_reward = False

    def labels(self, task: np.ndarray) -> np.ndarray:
        """One of each leg's 8 numbers is 1."""
        known = fields_of(task)
        source = known["wiring"][:, ::2] // 2
        reversed_ = (known["gear"][:, ::2] < 0).astype(np.int64)
        return np.eye(2 * _NUM_PAIRS, dtype=np.float32)[2 * source + reversed_].reshape(len(task), self.size)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross entropy, mean over the legs [nats]."""
        shape = (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.reshape(labels, shape),
                                                                      tf.reshape(logits, shape)), axis=-1)

    def right(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Share of legs whose most likely possibility is right."""
        shape = (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)
        return (logits.reshape(shape).argmax(-1) == labels.reshape(shape).argmax(-1)).mean(axis=-1)

    def belief(self, logits: Any) -> Any:
        """For each leg and source, how likely it is that the leg follows it, less that it does so reversed."""
        likely = ops.softmax(ops.reshape(2.0 * logits, (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)), axis=-1)
        return self._signed(likely)

    def certain(self, labels: Any) -> Any:
        """As `belief`, of 1, 0 and -1."""
        return self._signed(ops.reshape(labels, (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)))

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """Each leg's inferred torques times what was sent by each source, hips and ankles apart."""
        products = ops.reshape(gates, (-1, _NUM_PAIRS, 1, 2)) * ops.reshape(tick.sent, (-1, 1, _NUM_PAIRS, 2))
        return ops.reshape(products, (-1, self.products))

    def readout(self) -> np.ndarray:
        """Products of a leg and a source speak for that source, and against its being reversed."""
        pairs = np.eye(_NUM_PAIRS * _NUM_PAIRS, dtype=np.float32)
        return np.kron(pairs, np.array([[0.5, -0.5], [0.5, -0.5]], np.float32))

    def command(self, action: Any, belief: Any) -> Any:
        """Each source sends what the leg is to do that follows it."""
        wanted = ops.reshape(action, (-1, _NUM_PAIRS, 1, 2))
        sent = ops.sum(wanted * ops.reshape(belief, (-1, _NUM_PAIRS, _NUM_PAIRS, 1)), axis=1)
        return ops.clip(ops.reshape(sent, (-1, NUM_ACTUATORS)), -1.0, 1.0)

    def _signed(self, likely: Any) -> Any:
        pairs = ops.reshape(likely, (-1, _NUM_PAIRS, _NUM_PAIRS, 2))
        return ops.reshape(pairs[..., 0] - pairs[..., 1], (-1, _NUM_PAIRS * _NUM_PAIRS))


class Delay(_Unseen):
    """How many ticks an action takes to arrive.

    Args:
        most: ticks.
    """

    gates = NUM_ACTUATORS
    takes_reward = False

    def __init__(self, most: int) -> None:
        self.lags, self.size = most, most + 1
        self.products = self.size * NUM_ACTUATORS

    def labels(self, task: np.ndarray) -> np.ndarray:
        """1 at the delay, 0 elsewhere."""
        return np.eye(self.size, dtype=np.float32)[fields_of(task)["delay"]]

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross entropy [nats]."""
        return tf.nn.softmax_cross_entropy_with_logits(labels, logits)

    def right(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether the most likely delay is the right one."""
        return (logits.argmax(-1) == labels.argmax(-1)).astype(np.float64)

    def belief(self, logits: Any) -> Any:
        """How likely each delay is."""
        return ops.softmax(logits, axis=-1)

    def certain(self, labels: Any) -> Any:
        """1 and 0."""
        return labels

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """The torques that were inferred times each of the actions that may have caused them."""
        products = ops.expand_dims(gates, 1) * ops.reshape(tick.sent, (-1, self.size, NUM_ACTUATORS))
        return ops.reshape(products, (-1, self.products))

    def readout(self) -> np.ndarray:
        """The products of all motors speak for the delay."""
        return np.kron(np.eye(self.size, dtype=np.float32), np.ones((NUM_ACTUATORS, 1), np.float32))

    def command(self, action: Any, belief: Any) -> Any:
        """Nothing helps an action that is late: see `Foresight`."""
        return action


class Heading(_Unseen):
    """In which direction walking is rewarded, which only the reward tells."""

    size = 2
    gates = 5
    products = 5
    lags = 0
    takes_reward = True

    def labels(self, task: np.ndarray) -> np.ndarray:
        """Cosine and sine of the direction, from x towards y."""
        return fields_of(task)["heading"].astype(np.float32)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Square of the difference."""
        return tf.reduce_sum(tf.square(logits - labels), axis=-1)

    def right(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cosine of the angle between both."""
        return (logits * labels).sum(-1) / np.maximum(np.linalg.norm(logits, axis=-1), 1e-6)

    def belief(self, logits: Any) -> Any:
        """A direction of length 1."""
        return logits / ops.sqrt(ops.sum(ops.square(logits), axis=-1, keepdims=True) + 1e-6)

    def certain(self, labels: Any) -> Any:
        """It is one."""
        return labels

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """What the normal equations of reward on velocity are made of, each as far as the network trusts it.

        The reward is the velocity along the direction, and 1, less what the torques cost.
        """
        x, y = tick.seen[:, _VELOCITY:_VELOCITY + 1], tick.seen[:, _VELOCITY + 1:_VELOCITY + 2]
        along = tick.reward - 1.0 + 0.5 * ops.sum(ops.square(tick.sent), axis=-1, keepdims=True)
        return ops.sigmoid(gates) * ops.concatenate([along * x, along * y, x * x, x * y, y * y], axis=-1)

    def readout(self) -> np.ndarray:
        """Nothing at the start: the sums are not in proportion to the direction."""
        return np.zeros((self.products, self.size), np.float32)

    def command(self, action: Any, belief: Any) -> Any:
        """The robot is turned instead: see `Directions`."""
        return action


class Described:
    """The numbers of a task that differ in a distribution, for a policy that was made to be told them.

    Args:
        tasks: where they differ.
    """

    gates = NUM_ACTUATORS
    products = 2 * NUM_ACTUATORS
    lags = 0
    takes_reward = False

    def __init__(self, tasks: TaskDistribution) -> None:
        vectors = np.array([task.vector() for task in tasks.train])
        self._differ = np.flatnonzero(vectors.std(axis=0) > 0)
        self.size = len(self._differ)
        self._mean, self._std = vectors[:, self._differ].mean(axis=0), vectors[:, self._differ].std(axis=0)
        # From what is estimated to the whole vector.
        self._spread = (np.eye(vectors.shape[1], dtype=np.float32)[self._differ] * self._std[:, None])
        self._middle = np.where(vectors.std(axis=0) > 0, vectors.mean(axis=0), vectors[0]).astype(np.float32)

    def labels(self, task: np.ndarray) -> np.ndarray:
        """The numbers that differ, less their mean, by their standard deviation."""
        return ((task[:, self._differ] - self._mean) / self._std).astype(np.float32)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Square of the differences, mean over the numbers."""
        return tf.reduce_mean(tf.square(logits - labels), axis=-1)

    def right(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Share of numbers that are nearer than half a standard deviation."""
        return (np.abs(logits - labels) < 0.5).mean(axis=-1)

    def belief(self, logits: Any) -> Any:
        """The whole vector."""
        return ops.matmul(logits, self._spread) + self._middle

    def certain(self, labels: Any) -> Any:
        """It is the same."""
        return self.belief(labels)

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """Inferred torques times what was sent, and what was sent by itself: their ratio is a motor's strength."""
        return ops.concatenate([gates * tick.sent, ops.square(tick.sent)], axis=-1)

    def readout(self) -> np.ndarray:
        """Nothing at the start: sums are not in proportion to strengths."""
        return np.zeros((self.products, self.size), np.float32)

    def view(self, observation: Any, belief: Any) -> Any:
        """With the task behind it."""
        return ops.concatenate([observation, belief], axis=-1)

    def command(self, action: Any, belief: Any) -> Any:
        """The policy knows what to send."""
        return action


def guide_for(tasks: TaskDistribution, told: bool = False) -> Guide:
    """The guide for what differs between the tasks, and for a policy that is told its task, or is not.

    Raises:
        ArgumentError: there is none, or the tasks don't differ.
    """
    differs = tasks.differs()
    if told:
        if len(tasks.train) < 2:
            raise ArgumentError(f"a teacher that is told its task must have several, found one in {tasks.name}")
        return Described(tasks)
    signs = {abs(strength) for task in tasks.train for strength in task.gear} == {1.0}
    if differs == {"heading"}:
        return Heading()
    if differs == {"delay"}:
        return Delay(max(task.delay for task in tasks.train))
    if signs and differs == {"gear"}:
        return Motors()
    if signs and differs <= {"gear", "wiring"}:
        return Legs()
    raise ArgumentError("the teacher can be told of headings, of delays, and of motors whose signs or cables differ, "
                        f"found {tasks.name}, in which {', '.join(sorted(differs))} differ: train one with "
                        f"task_input:=true and give it as teacher:=BUNDLE")
