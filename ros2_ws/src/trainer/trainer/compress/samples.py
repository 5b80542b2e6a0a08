"""What an actor is given while it acts, and what a teacher gives for the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.bundle import Manifest
from ant_rl_core.step import TimeStepEnv
from policy_node.actor import BundleActor, Graph
from policy_node.litert_actor import LiteRTGraph
from trainer.loop import drive

Arrays = Mapping[str, np.ndarray]
_NUM_ENVS = 20


@dataclass(frozen=True)
class Samples:
    """Inputs and outputs of a graph, float32 [m, ...] by name: observations and, of recurrent actors, states."""

    inputs: Arrays
    outputs: Arrays

    def __len__(self) -> int:
        return len(self.inputs["observation"])

    def joined(self, other: Samples) -> Samples:
        """These, then the others."""
        return Samples(*({name: np.concatenate([array, after[name]]) for name, array in before.items()}
                         for before, after in ((self.inputs, other.inputs), (self.outputs, other.outputs))))


class Teacher:
    """The actor that smaller ones are made from: it shows what is seen, and says what to do there.

    Args:
        model: its LiteRT graph, float32.
        manifest: of its bundle.
        num_threads: threads that step physics; 0 means one per core.
    """

    def __init__(self, model: bytes, manifest: Manifest, num_threads: int = 0) -> None:
        self.graph, self._manifest, self._num_threads = LiteRTGraph(model), manifest, num_threads

    def rollout(self, driver: Graph, count: int, seed: int) -> Samples:
        """What `driver` is given while it drives, and what this teacher gives for that; [count, ...] each."""
        inputs = self.visited(driver, count, seed)
        return Samples(inputs, self.graph(inputs))

    def visited(self, driver: Graph, count: int, seed: int) -> dict[str, np.ndarray]:
        """What a graph is given while it drives robots from one episode to the next, [count, ...] by name.

        Args:
            driver: what drives them, by its best actions; of the same inputs and outputs as the teacher.
            count: how many.
            seed: of the first robot's resets.
        """
        recorder = _Recorder(driver)
        actor = BundleActor(recorder, self._manifest)
        recorder.given.clear()  # of the actor's trial

        with VectorAnt(_NUM_ENVS, seed, self._num_threads or None) as ant:
            env = TimeStepEnv(ant)
            for _ in islice(drive(env, actor, env.reset()), -(-count // _NUM_ENVS)):
                pass
        return {name: np.concatenate([given[name] for given in recorder.given])[:count] for name in recorder.given[0]}


class _Recorder:
    """A graph that keeps what it is given."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.given: list[dict[str, np.ndarray]] = []

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        self.given.append({name: np.array(array) for name, array in inputs.items()})
        return self._graph(inputs)
