"""An actor with a memory that is told what happened before (RL^2, arXiv:1611.02779): in Keras, over rollouts, in numpy.

One set of weights in three forms: `RecurrentActor.network` is one step as a graph, which `PolicyGraph` exports;
`RecurrentActor.sequence` is a whole rollout, for gradients through time; `NumpyRecurrentActor` acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.bundle import INPUTS, Bundle
from policy_node.keras_actor import load_model
from trainer.networks.mlp import NumpyMLP
from trainer.networks.recurrent import State, unroll

CELLS = ("gru", "lstm")


class RecurrentActor:
    """A network from observation, previous action, reward and end, and a state, to an output and the state after.

    Dense layers make features of all four inputs; a cell remembers them; the output is made of the features and of what
    the cell gives, side by side, so that what needs no memory goes past it. The reward as it comes is scaled and
    clipped in the graph.

    Args:
        observation_size, action_size: sizes of the robot; the output is as long as the action.
        seed: of the weights.
        cell: one of CELLS.
        memory_size: of the cell; 0: there is no memory, and the output is made of the features alone.
        input_hidden: sizes of the layers (tanh) that make the features.
        hidden: sizes of the layers (tanh) between memory and output.
        reward_scale, reward_clip: the reward is multiplied by the one, and clipped to the other's magnitude then.
        output_gain: of the last layer's orthogonal weights.

    Attributes:
        network: one step, from a table of the names in `ant_rl_core.bundle.INPUTS` and state_0, … to a table of
            `output` [n, action_size] and the states after. The observation is normalized already.
        state_shapes: of each state without the batch axis: (m,) for a GRU, twice that for an LSTM, () without memory.
        variables: all that gradients change.
    """

    def __init__(self, observation_size: int, action_size: int, *, seed: int, cell: str = "gru", memory_size: int = 64,
                 input_hidden: Sequence[int] = (64,), hidden: Sequence[int] = (64,), reward_scale: float = 1.0,
                 reward_clip: float = 10.0, output_gain: float = 0.01) -> None:
        if cell not in CELLS:
            raise ValueError(f"cell must be {' or '.join(CELLS)}, found {cell!r}")
        seeds = map(int, np.random.SeedSequence(seed).generate_state(len(input_hidden) + len(hidden) + 3))
        self.memory_size, self.reward_scale, self.reward_clip = memory_size, reward_scale, reward_clip
        self._inner = [_tanh(size, next(seeds), f"features_{i}") for i, size in enumerate(input_hidden)]
        self._kind = _KINDS[cell]
        self._cell: Any = self._kind.layer(
            memory_size, name="memory", kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds))) if memory_size else None
        self.state_shapes = ((memory_size,),) * (self._kind.states if memory_size else 0)
        self._outer = [_tanh(size, next(seeds), f"head_{i}") for i, size in enumerate(hidden)]
        last = keras.initializers.Orthogonal(output_gain, next(seeds))
        self._outer.append(keras.layers.Dense(action_size, name="output", kernel_initializer=last))
        self.network = self._one_step(dict(zip(INPUTS, (observation_size, action_size, 1, 1), strict=True)))
        self.variables: list[keras.Variable] = self.network.trainable_variables

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        """Zeros for each state, float32 [n, *shape]."""
        return tuple(np.zeros((num_envs, *shape), np.float32) for shape in self.state_shapes)

    def sequence(self, inputs: Mapping[str, tf.Tensor], first: tf.Tensor,
                 state: State) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """A whole rollout, differentiable through time; the state is zeros wherever a trial begins.

        Args:
            inputs: by the names in INPUTS, each float32 [T, n, size]; observations normalized.
            first: [T, n], where the memory is of zeros before the tick.
            state: before the first tick, each [n, *shape].

        Returns:
            Outputs [T, n, action_size], the features [T, n, k] that they were made of, which end with what the memory
            gives, and the states after each tick side by side, [T, n, states * memory_size].
        """
        x = self._features(inputs)
        if self._cell is None:
            return self._output(x), x, x[:, :, :0]
        recurrent, bias = self._cell_weights()

        def step(projected: State, state: State) -> tuple[tf.Tensor, State]:
            state = self._kind.step(projected[0], state, recurrent, bias, _TENSORFLOW)
            return tf.concat(state, axis=1), state

        # What comes in is multiplied for all ticks at once; only what depends on the tick before is in the loop.
        states = unroll(step, [self._projected(x)], first, state)
        x = tf.concat([x, states[:, :, :self.memory_size]], axis=2)
        return self._output(x), x, states

    def step(self, inputs: Mapping[str, tf.Tensor], state: State) -> tuple[tf.Tensor, tf.Tensor, State]:
        """One tick, of inputs [n, size] and states [n, *shape]: output, features and states as of `sequence`."""
        x = self._features(inputs)
        if self._cell is not None:
            state = self._kind.step(self._projected(x), state, *self._cell_weights(), _TENSORFLOW)
            x = tf.concat([x, state[0]], axis=1)
        return self._output(x), x, state

    def take(self, bundle: Bundle) -> Mapping[str, np.ndarray]:
        """Go on from a policy of this kind and these sizes.

        Returns:
            The other weights that the policy's graph has, by layer and name, such as log_std/bias.

        Raises:
            ValueError: it is of another kind or of other sizes; nothing was changed.
        """
        given = {_name(variable): variable.numpy() for variable in load_model(bundle.member("actor.keras")).variables}
        pairs = [(variable, given.pop(_name(variable), None)) for variable in self.variables]
        for variable, value in pairs:
            if value is None or value.shape != tuple(variable.shape):
                raise ValueError(f"expected a policy with {_name(variable)} of shape {list(variable.shape)}, found "
                                 f"{'none' if value is None else list(value.shape)}, in one of "
                                 f"{bundle.manifest.algorithm}: set cell, memory and the sizes of the layers to what "
                                 "it was made with")
        for variable, value in pairs:
            variable.assign(value)
        return given

    def _features(self, inputs: Mapping[str, Any]) -> Any:
        observation, action, reward, done = (inputs[name] for name in INPUTS)
        reward = keras.ops.clip(reward * self.reward_scale, -self.reward_clip, self.reward_clip)
        x = keras.ops.concatenate([observation, action, reward, done], axis=-1)
        for layer in self._inner:
            x = layer(x)
        return x

    def _output(self, x: Any) -> Any:
        for layer in self._outer:
            x = layer(x)
        return x

    def _one_step(self, sizes: Mapping[str, int]) -> keras.Model:
        inputs = {name: keras.Input((size,), dtype="float32", name=name) for name, size in sizes.items()}
        states = {f"state_{i}": keras.Input(shape, dtype="float32", name=f"state_{i}")
                  for i, shape in enumerate(self.state_shapes)}
        x, after = self._features(inputs), []
        if self._cell is not None:
            memory, after = self._cell(x, list(states.values()))
            x = keras.ops.concatenate([x, memory], axis=-1)
        return keras.Model({**inputs, **states}, {"output": self._output(x), **dict(zip(states, after, strict=True))},
                           name="actor")

    def _cell_weights(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.convert_to_tensor(self._cell.recurrent_kernel), tf.convert_to_tensor(self._cell.bias)

    def _projected(self, x: tf.Tensor) -> tf.Tensor:
        return tf.tensordot(x, tf.convert_to_tensor(self._cell.kernel), 1)


class NumpyRecurrentActor:
    """A frozen copy of a `RecurrentActor` that runs in numpy, as `NumpyMLP` does and for the same reason.

    Args:
        actor: whose weights are taken as they are now.
    """

    def __init__(self, actor: RecurrentActor) -> None:
        self._scale, self._clip = np.float32(actor.reward_scale), np.float32(actor.reward_clip)
        self._inner, self._outer = NumpyMLP(actor._inner), NumpyMLP(actor._outer)
        self._kind, cell = actor._kind, actor._cell
        self._cell = None if cell is None else tuple(
            each.numpy() for each in (cell.kernel, cell.recurrent_kernel, cell.bias))

    def __call__(self, inputs: Mapping[str, np.ndarray],
                 state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """One tick, of float32 inputs [n, size] and states [n, *shape]: output [n, action_size] and states after."""
        observation, action, reward, done = (inputs[name] for name in INPUTS)
        reward = np.clip(reward * self._scale, -self._clip, self._clip)
        x = self._inner(np.concatenate([observation, action, reward, done], axis=1))
        if self._cell is not None:
            kernel, recurrent, bias = self._cell
            state = self._kind.step(x @ kernel, state, recurrent, bias, _NUMPY)
            x = np.concatenate([x, state[0]], axis=1)
        return self._outer(x), state


# -- cells -------------------------------------------------------------------------------------------------------------

class _Library(NamedTuple):
    """What the equations of a cell are made of, besides products and sums."""

    split: Callable[..., Sequence[Any]]
    sigmoid: Callable[[Any], Any]
    tanh: Callable[[Any], Any]


_TENSORFLOW = _Library(tf.split, tf.sigmoid, tf.tanh)
_NUMPY = _Library(np.split, lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), np.tanh)


def _gru(projected: Any, state: tuple[Any, ...], recurrent: Any, bias: Any, library: _Library) -> tuple[Any, ...]:
    """Cho et al., arXiv:1406.1078; the reset gate after the product, as in Keras and cuDNN."""
    (before,) = state
    z, r, candidate = library.split(projected + bias[0], 3, axis=1)
    of_state = library.split(before @ recurrent + bias[1], 3, axis=1)
    z, r = library.sigmoid(z + of_state[0]), library.sigmoid(r + of_state[1])
    return (z * before + (1.0 - z) * library.tanh(candidate + r * of_state[2]),)


def _lstm(projected: Any, state: tuple[Any, ...], recurrent: Any, bias: Any, library: _Library) -> tuple[Any, ...]:
    """Hochreiter and Schmidhuber, 1997, with a forget gate; what goes out, and what is kept."""
    before, kept = state
    enter, forget, candidate, leave = library.split(projected + before @ recurrent + bias, 4, axis=1)
    kept = library.sigmoid(forget) * kept + library.sigmoid(enter) * library.tanh(candidate)
    return library.sigmoid(leave) * library.tanh(kept), kept


class _Kind(NamedTuple):
    """A kind of cell: its layer of Keras, how many states it has, and its equations."""

    layer: type[keras.layers.Layer]
    states: int
    step: Callable[..., tuple[Any, ...]]


_KINDS = {"gru": _Kind(keras.layers.GRUCell, 1, _gru), "lstm": _Kind(keras.layers.LSTMCell, 2, _lstm)}


def _tanh(size: int, seed: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(size, "tanh", name=name,
                              kernel_initializer=keras.initializers.Orthogonal(2.0**0.5, seed))


def _name(variable: keras.Variable) -> str:
    """Of a variable, its layer's and its own: what a graph in a bundle has in common with the network it is of."""
    return "/".join(variable.path.split("/")[-2:])
