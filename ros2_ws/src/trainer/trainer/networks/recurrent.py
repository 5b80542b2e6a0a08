"""Networks with a memory over whole sequences, in compiled functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

State = tuple[tf.Tensor, ...]
# One tick: what comes in, each [n, ...], and the state before -> what goes out [n, k], and the state after.
Step = Callable[[State, State], tuple[tf.Tensor, State]]


def unroll(step: Step, inputs: Sequence[tf.Tensor], first: tf.Tensor, state: State) -> tf.Tensor:
    """What a network with a memory gives at each tick of a rollout, differentiable through time.

    A loop rather than an unrolled graph: XLA compiles it in seconds whatever the number of ticks.

    Args:
        step: one tick, from zeros as from any other state.
        inputs: each [T, n, ...], T known when the function is traced.
        first: [T, n], where the memory is of zeros before the tick.
        state: before the first tick, each [n, ...].

    Returns:
        Outputs [T, n, k].
    """
    ticks = first.shape[0]
    keep = 1.0 - tf.cast(first, tf.float32)[:, :, None]

    def forgotten(t: tf.Tensor, state: State) -> State:
        return tuple(each * keep[t] for each in state)

    def body(t: tf.Tensor, state: State, outputs: tf.TensorArray) -> tuple[tf.Tensor, State, tf.TensorArray]:
        output, state = step(tuple(each[t] for each in inputs), forgotten(t, state))
        return t + 1, state, outputs.write(t, output)

    outputs = tf.TensorArray(tf.float32, size=ticks, element_shape=None)
    _, _, outputs = tf.while_loop(lambda t, *_: t < ticks, body, (tf.constant(0), tuple(state), outputs),
                                  maximum_iterations=ticks)
    return outputs.stack()
