"""Small policies for the tests, built as the trainer exports them: by Keras and its LiteRT converter."""

import functools
import tempfile
from pathlib import Path

import numpy as np

from ant_rl_core import bundle
from ant_rl_core.bundle import Manifest


def keras_model(observation_size=105, action_size=8, seed=1, hidden=64, state_size=0, stochastic=True, before=()):
    """Functional model with the inputs and outputs that a bundle's actor has; `before`: of those of what happened."""
    import keras
    keras.utils.set_random_seed(seed)
    observation = keras.Input((observation_size,), name="observation")
    inputs, outputs, x = {"observation": observation}, {}, observation
    for name in before:
        inputs[name] = keras.Input((action_size if name == "previous_action" else 1,), name=name)
    if before:
        x = keras.layers.Concatenate()(list(inputs.values()))
    if state_size:
        state = keras.Input((state_size,), name="state_0")
        inputs["state_0"] = state
        outputs["state_0"] = keras.layers.Dense(state_size, "tanh")(keras.layers.Concatenate()([x, state]))
        x = keras.layers.Concatenate()([x, outputs["state_0"]])
    for _ in range(2):
        x = keras.layers.Dense(hidden, "tanh")(x)
    mean = keras.layers.Dense(action_size)(x)
    outputs["action"] = keras.layers.Activation("tanh")(mean)
    if stochastic:
        outputs["mean"] = mean
        outputs["log_std"] = keras.layers.Dense(action_size, kernel_initializer="zeros",
                                                bias_initializer=keras.initializers.Constant(-0.5))(x)
    return keras.Model(inputs, outputs)


def keras_bytes(model):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "actor.keras")
        model.save(path)
        return path.read_bytes()


def litert_bytes(model, batch=None):
    import tensorflow as tf
    trained, fixed = map(tuple, (model.trainable_variables, model.non_trainable_variables))
    # Values, not variables: the converter would leave variables empty.
    trained, fixed = [tf.constant(v) for v in trained], [tf.constant(v) for v in fixed]
    signature = [tf.TensorSpec((batch, *tensor.shape[1:]), tf.float32, name=tensor.name) for tensor in model.inputs]
    names = [tensor.name for tensor in model.inputs]

    @tf.function(input_signature=signature)
    def serve(*inputs):
        return model.stateless_call(trained, fixed, dict(zip(names, inputs, strict=True)), training=False)[0]

    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], tf.Module()).convert()


def manifest(version=1, **changes):
    return Manifest(**{"algorithm": "test", "robot": "Ant-v5", "observation_size": 105, "action_size": 8,
                       "version": version, "stochastic": True, **changes})


@functools.cache
def members(**arguments):
    """actor.keras and actor.tflite of a model; cached, since a conversion takes a second."""
    model = keras_model(**arguments)
    return {"actor.keras": keras_bytes(model), "actor.tflite": litert_bytes(model)}


def packed(version=1, changes=None, **arguments):
    """Bytes of a bundle; `changes` are manifest fields that differ from the model's."""
    fields = {"observation_size": arguments.get("observation_size", 105),
              "action_size": arguments.get("action_size", 8), "stochastic": arguments.get("stochastic", True),
              "state_shapes": ((arguments["state_size"],),) if arguments.get("state_size") else (),
              "inputs": ("observation", *arguments.get("before", ())), **(changes or {})}
    return bundle.pack(manifest(version, **fields), members(**arguments), {})


def observations(rows, seed=0, size=105):
    return np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)
