"""From a policy bundle to an actor: the same contract whatever runs the graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

import numpy as np

from ant_rl_core.bundle import FLOAT32, Bundle, BundleError, Manifest
from ant_rl_core.exploration import explore as draw
from ant_rl_core.step import Previous


class Graph(Protocol):
    """What a backend offers: a function from named arrays to named arrays, float32 with one row per robot.

    `inputs` and `outputs` tell the shape of each array by name, without the batch axis.
    """

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]: ...
    @property
    def outputs(self) -> Mapping[str, tuple[int, ...]]: ...

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph; the returned arrays belong to the caller."""


class BundleActor:
    """Runs the graph of a bundle; see `contracts.Actor`.

    The state of a recurrent actor is a tuple of float32 arrays [n, *shape], one for each of the manifest's
    `state_shapes`; others have the state (). Where memory starts anew, which is under the reset mask and, with an
    actor's memory of an episode, where one has ended, states and what happened before are zeros.

    Args:
        graph: the loaded graph.
        manifest: of the bundle it comes from.
        random: what to explore with, in the manifest's way; None: take the graph's own action, without exploring.

    Raises:
        BundleError: the graph is not what the manifest says, which one run with two rows shows.
    """

    def __init__(self, graph: Graph, manifest: Manifest, random: np.random.Generator | None = None) -> None:
        self.version = manifest.version
        self.manifest = manifest
        self._graph = graph
        self._random = random
        self._exploration = manifest.explores
        self._states = {f"state_{i}": shape for i, shape in enumerate(manifest.state_shapes)}
        self._before = set(manifest.inputs) - {"observation"}
        self._check()

    @property
    def memory_key(self) -> Hashable | None:
        """An actor with the same key goes on with this one's state; None: nobody does."""
        shapes, memory_id = self.manifest.state_shapes, self.manifest.memory_id
        if not shapes:
            return ()
        return None if memory_id is None else (memory_id, shapes)

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        """Zeros for each recurrent state."""
        return tuple(np.zeros((num_envs, *shape), np.float32) for shape in self._states.values())

    def act(self, observation: np.ndarray, previous: Previous, state: tuple[np.ndarray, ...],
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], tuple[np.ndarray, ...]]:
        """As `contracts.Actor.act`.

        `extras` holds log_prob where it draws from the graph's distribution, and belief, float32 [n, k], where the
        graph gives what it believes of its task.
        """
        inputs = {"observation": observation}
        if self._states or self._before:
            fresh = reset_mask if self.manifest.memory == "trial" else reset_mask | previous.done
            inputs.update(zip(self._states, _reset(state, fresh), strict=True))
            if self._before:
                inputs.update(self._happened(previous.forgotten(fresh)))
        outputs = self._graph(inputs)
        state = tuple(outputs[name] for name in self._states)
        believed = {"belief": outputs["belief"]} if "belief" in outputs else {}
        if self._random is None or self._exploration is None:
            return outputs["action"], believed, state
        action, extras = draw(self._exploration, outputs, self._random)
        return action, {**extras, **believed}, state

    def warm_up(self, num_envs: int) -> None:
        """Prepare the graph for this number of rows, so that the first `act` takes no longer than the next."""
        self._run_empty(num_envs)

    def _run_empty(self, rows: int) -> dict[str, np.ndarray]:
        return self._graph({name: np.zeros((rows, *shape), np.float32)
                            for name, shape in self.manifest.input_shapes.items()})

    def _happened(self, previous: Previous) -> dict[str, np.ndarray]:
        """What happened before, as far as the graph takes it."""
        found = {"previous_action": previous.action, "previous_reward": previous.reward[:, None],
                 "previous_done": previous.done[:, None].astype(np.float32)}
        return {name: found[name] for name in self._before}

    def _check(self) -> None:
        size = (self.manifest.action_size,)
        expected = {"action": size, **({"mean": size, "log_std": size} if self.manifest.stochastic else {}),
                    **self._states}
        _compare("takes", self.manifest.input_shapes, self._graph.inputs)
        _compare("gives", expected, {name: self._graph.outputs[name] for name in self._graph.outputs
                                     if name in expected})
        outputs = self._run_empty(rows=2)
        _compare("gives", {name: (2, *shape) for name, shape in expected.items()},
                 {name: outputs[name].shape for name in expected})
        for name in expected:
            if not np.isfinite(outputs[name]).all():
                raise BundleError(f"expected an actor that gives numbers, found NaN or infinity in its {name} for an "
                                  "observation of zeros")


def load_actor(bundle: Bundle, backend: str = "litert", variant: str = FLOAT32, explore: bool = False,
               seed: int | np.random.Generator = 0) -> BundleActor:
    """The actor of a bundle, ready to act.

    Args:
        bundle: the checked bundle.
        backend: litert or keras.
        variant: which of the bundle's variants to run; see `Bundle.variant`.
        explore: explore in the way that the bundle's manifest says instead of taking the best action.
        seed: of the exploration; a generator goes on where it is, as successive versions of a policy should.

    Raises:
        BundleError: the bundle has no such variant, or it can't be run, is of another size than the manifest says or
            can't explore.
        ValueError: unknown backend, or one whose library is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be {' or '.join(BACKENDS)}, found {backend!r}")
    if explore and bundle.manifest.explores is None:
        raise BundleError("to explore, a policy must be stochastic or say how to explore, and this bundle's manifest "
                          "says neither: start it with explore:=false")
    load, suffix, package = BACKENDS[backend]
    name = bundle.variant(variant, suffix)
    model = bundle.member(name)
    try:
        graph = load(model)
        return BundleActor(graph, bundle.manifest, np.random.default_rng(seed) if explore else None)
    except ImportError as error:
        raise ValueError(f"backend {backend} needs the Python package {package}, which is not installed "
                         f"({error})") from error
    except BundleError as error:
        raise BundleError(f"{name}: {error}") from error


def _load_litert(model: bytes) -> Graph:
    from policy_node.litert_actor import LiteRTGraph
    return LiteRTGraph(model)


def _load_keras(model: bytes) -> Graph:
    from policy_node.keras_actor import KerasGraph  # TensorFlow: seconds and hundreds of megabytes
    return KerasGraph(model)


# For each backend: its loader, the suffix of the members it runs, the package it needs.
BACKENDS: dict[str, tuple[Callable[[bytes], Graph], str, str]] = {
    "litert": (_load_litert, ".tflite", "ai-edge-litert (or tflite-runtime)"),
    "keras": (_load_keras, ".keras", "tensorflow"),
}


def _reset(state: tuple[np.ndarray, ...], mask: np.ndarray) -> tuple[np.ndarray, ...]:
    if not mask.any():
        return state
    fresh = tuple(array.copy() for array in state)
    for array in fresh:
        array[mask] = 0.0
    return fresh


def _compare(verb: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    if dict(expected) != dict(found):
        raise BundleError(f"expected a graph that {verb} {_names(expected)}, found one that {verb} {_names(found)}")


def _names(shapes: Mapping[str, tuple[Any, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "nothing of these"
