"""Actors run by Keras: for development on a desktop, where a policy has not been exported to LiteRT."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

import numpy as np

from ant_rl_core.bundle import BundleError
from ant_rl_core.surroundings.libraries import settle_keras

settle_keras()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings about missing GPUs are no news; before the import

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


class KerasGraph:
    """The model of a .keras file, as one compiled function unless asked otherwise.

    Loaded in Keras's safe mode, which refuses code within the file (Lambda layers).

    Args:
        model: the file's bytes.
        compiled: False runs keras.Model.__call__ as it is, operation by operation, to measure what that costs.

    Attributes:
        inputs, outputs: shape of each tensor by its name, without the batch axis.

    Raises:
        BundleError: the bytes are no Keras model with named outputs, or it holds code.
    """

    def __init__(self, model: bytes, compiled: bool = True) -> None:
        loaded = load_model(model)
        if not isinstance(loaded.output, dict):
            raise BundleError(f"expected a Keras model with named outputs, found {type(loaded.output).__name__}")
        self.inputs = {tensor.name: tuple(tensor.shape[1:]) for tensor in loaded.inputs}
        self.outputs = {name: tuple(tensor.shape[1:]) for name, tensor in loaded.output.items()}
        signature = {name: tf.TensorSpec((None, *shape), tf.float32, name=name) for name, shape in self.inputs.items()}

        def call(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return loaded(keras.tree.map_structure(lambda tensor: inputs[tensor.name], loaded.input), training=False)

        self._call = tf.function(call, input_signature=[signature]) if compiled else call

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run with float32 [n, ...] inputs; arrays of its own for every output."""
        outputs = self._call({name: tf.constant(inputs[name], tf.float32) for name in self.inputs})
        return {name: np.array(tensor) for name, tensor in outputs.items()}


def load_model(model: bytes) -> keras.Model:
    """The Keras model in the bytes of a .keras file, with its weights; BundleError as of `KerasGraph`."""
    with tempfile.TemporaryDirectory() as folder:  # Keras reads from paths only
        path = os.path.join(folder, "actor.keras")
        with open(path, "wb") as file:
            file.write(model)
        try:
            loaded = keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras answers damage with errors of any kind
            text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise BundleError(f"expected a Keras model without code in it, found {len(model)} bytes that Keras "
                              f"refuses ({text})") from error
    if not isinstance(loaded, keras.Model):
        raise BundleError(f"expected a Keras model, found {type(loaded).__name__}")
    return loaded
