"""For tests: a small actor with a memory (RL^2, arXiv:1611.02779), and its equations by hand."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from ant_rl_core.bundle import INPUTS
from ant_rl_core.step import Previous
from trainer.export.policy_graph import PolicyGraph, deterministic_graph
from trainer.networks.statistics import Normalizer

_EMBED, _STATE = 24, 16
_CLIP = 5.0


class GRUActor:
    """An untrained actor of one GRU cell that is told what happened before, with weights that let it matter.

    Args:
        seed: of the weights.
        observation_size, action_size: sizes of the robot.

    Attributes:
        network: as `PolicyGraph` takes it.
        graph: that of the network, with its normalization.
    """

    def __init__(self, seed: int = 3, observation_size: int = 105, action_size: int = 8) -> None:
        rng = np.random.default_rng(seed)
        sizes = dict(zip(INPUTS, (observation_size, action_size, 1, 1), strict=True), state_0=_STATE)
        inputs = {name: keras.Input((size,), dtype="float32", name=name) for name, size in sizes.items()}
        x = keras.layers.Concatenate()([inputs[name] for name in INPUTS])
        x = keras.layers.Dense(_EMBED, "tanh", name="embed")(x)
        memory, (state,) = keras.layers.GRUCell(_STATE, name="memory")(x, [inputs["state_0"]])
        # The observation's features go past the memory too.
        x = keras.layers.Dense(_EMBED, "relu", name="head")(keras.layers.Concatenate()([x, memory]))
        x = keras.layers.Dense(action_size, name="action")(x)
        self.network = keras.Model(inputs, {"output": x, "state_0": state}, name="actor")
        for name in ("embed", "memory", "head", "action"):
            layer = self.network.get_layer(name)
            layer.set_weights([rng.normal(0.0, 1.0 / np.sqrt(len(w)), w.shape) if w.ndim > 1 and len(w) > 2 else
                               rng.normal(0.0, 0.3, w.shape) if w.dtype.kind == "f" else w
                               for w in layer.get_weights()])
        self.normalizer = Normalizer(observation_size, _CLIP)
        self.normalizer.update(rng.normal(0.3, 2.0, (200, observation_size)))
        self.graph: PolicyGraph = deterministic_graph(self.network, self.normalizer)

    def bundle(self, version: int = 1, memory: str = "trial", memory_id: str | None = None) -> bytes:
        """Bytes of a bundle for Ant-v5."""
        return self.graph.bundle(algorithm="rl2", robot="Ant-v5", version=version, provenance={}, memory=memory,
                                 memory_id=memory_id)

    def by_hand(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the graph gives, by the equations of a GRU in float64 (Cho et al., arXiv:1406.1078; the reset gate after
        the product, as in Keras and cuDNN); inputs and outputs [n, ...] by name."""
        embed, memory, head, action = ([np.asarray(w, np.float64) for w in self.network.get_layer(name).get_weights()]
                                       for name in ("embed", "memory", "head", "action"))
        std = np.sqrt(self.normalizer.variance)
        observation = np.clip((inputs["observation"] - self.normalizer.mean) / std, -_CLIP, _CLIP)
        x = np.concatenate([observation, *(inputs[name] for name in INPUTS[1:])], axis=1)
        x = np.tanh(x @ embed[0] + embed[1])
        state = np.asarray(inputs["state_0"], np.float64)
        z, r, h = np.split(x @ memory[0] + memory[2][0], 3, axis=1)
        of_state = np.split(state @ memory[1] + memory[2][1], 3, axis=1)
        z, r = _sigmoid(z + of_state[0]), _sigmoid(r + of_state[1])
        state = z * state + (1.0 - z) * np.tanh(h + r * of_state[2])
        x = np.maximum(np.concatenate([x, state], axis=1) @ head[0] + head[1], 0.0)
        return {"action": np.tanh(x @ action[0] + action[1]), "state_0": state}

    def act_by_hand(self, observation: np.ndarray, previous: Previous, state: np.ndarray,
                    fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Action [n, action_size] and the state after [n, 16], float64; rows of `fresh` (bool [n]) start anew."""
        keep = ~fresh[:, None]
        found = self.by_hand({"observation": observation, "previous_action": previous.action * keep,
                              "previous_reward": previous.reward[:, None] * keep,
                              "previous_done": previous.done[:, None] * keep, "state_0": state * keep})
        return found["action"], found["state_0"]

    def initial_state(self, num_envs: int) -> np.ndarray:
        """Zeros, float64 [n, 16]."""
        return np.zeros((num_envs, _STATE))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))
