"""Measures one actor in a process of its own: `python -m trainer.compress.probe`, a job on stdin, figures on stdout.

The process loads what the actor needs and nothing else, so that its memory is the actor's.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle

import numpy as np
import psutil

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.bundle import FLOAT32, Bundle
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from policy_node.actor import BundleActor, Graph, load_actor

_WARM_UP = 100  # decisions, enough for caches and for TensorFlow's tracing
_LEAST = 100  # decisions at full speed, however long they take: the fewest that have a 99th percentile


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
        bundle: path of the bundle.
        kind: litert: what the policy node runs; keras_eager: keras.Model.__call__; keras_function: the same in a
            tf.function; numpy: see `numpy_graph`.
        variant: which of the bundle's variants.
        observations: path of an .npy file with float32 [m, observation_size] observations, which are taken in turn;
            empty: zeros.
        seconds: how long at full speed [s].
        paced_seconds: how long at the control rate [s].
    """

    bundle: str
    kind: str = "litert"
    variant: str = FLOAT32
    observations: str = ""
    seconds: float = 5.0
    paced_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(KINDS)}, found {self.kind!r}")
        for name in ("seconds", "paced_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")


@dataclass(frozen=True)
class Figures:
    """What one actor needs for decisions on one robot.

    Attributes:
        decisions: how many were made at full speed, one after the other.
        p50_us, p99_us, mean_us: of a decision at full speed [us]. Where a share of the core is all there is, a decision
            either runs at the core's full speed or is held up, so the slower core shows in the mean, not in p50.
        cpu_us: processor time of all threads for a decision at full speed [us]; the steadiest figure beside other work.
        decisions_per_s: at full speed.
        cpu_percent: processor time of all threads at full speed, in percent of one core of this machine.
        paced_cpu_percent: the same at the control rate.
        rss_mb: resident memory of the process afterwards [10^6 bytes].
        uss_mb: that of it which no other process shares; a library's pages count where nobody else has loaded it, which
            for TensorFlow is 300 MB more or less.
    """

    decisions: float
    p50_us: float
    p99_us: float
    mean_us: float
    cpu_us: float
    decisions_per_s: float
    cpu_percent: float
    paced_cpu_percent: float
    rss_mb: float
    uss_mb: float


def run(job: Job) -> Figures:
    """Measure in this process.

    Raises:
        BundleError: the bundle can't be read, or has no such actor.
        ValueError: the observations don't fit the actor.
        OSError: the observations can't be read.
    """
    bundle = policy_bundle.read(job.bundle)
    decide = _decisions(KINDS[job.kind](bundle, job.variant), _observations(job, bundle))
    for _ in range(_WARM_UP):
        decide()
    full = _at_full_speed(decide, job.seconds)
    paced = _paced(decide, job.paced_seconds)
    memory = psutil.Process().memory_full_info()
    return Figures(**full, paced_cpu_percent=paced, rss_mb=memory.rss / 1e6, uss_mb=memory.uss / 1e6)


def _observations(job: Job, bundle: Bundle) -> np.ndarray:
    size = bundle.manifest.observation_size
    if not job.observations:
        return np.zeros((1, size), np.float32)
    found = np.load(job.observations)
    if found.dtype != np.float32 or found.ndim != 2 or found.shape[1] != size or len(found) == 0:
        raise ValueError(f"observations must be float32 [m, {size}] with m > 0, found {found.dtype} "
                         f"{list(found.shape)}")
    return found


def _decisions(actor: BundleActor, observations: np.ndarray) -> Callable[[], None]:
    """Decides for one robot, on the next observation with each call."""
    actor.warm_up(1)
    turns = cycle([observations[i:i + 1] for i in range(len(observations))])
    previous, goes_on = Previous.none(1, actor.manifest.action_size), np.zeros(1, bool)
    state = actor.initial_state(1)

    def decide() -> None:
        nonlocal state
        _, _, state = actor.act(next(turns), previous, state, goes_on)
    return decide


def _at_full_speed(decide: Callable[[], None], seconds: float) -> dict[str, float]:
    # Eight bytes each, given back before memory is read: it is the actor's memory that counts.
    durations = array("d")
    clock = time.perf_counter
    start, processor = clock(), time.process_time()
    before = start
    while before - start < seconds or len(durations) < _LEAST:
        decide()
        after = clock()
        durations.append(after - before)
        before = after
    wall, processor = clock() - start, time.process_time() - processor
    p50, p99 = np.percentile(durations, (50, 99))
    count = len(durations)
    return {"decisions": count, "p50_us": 1e6 * float(p50), "p99_us": 1e6 * float(p99), "mean_us": 1e6 * wall / count,
            "cpu_us": 1e6 * processor / count, "decisions_per_s": count / wall, "cpu_percent": 100.0 * processor / wall}


def _paced(decide: Callable[[], None], seconds: float) -> float:
    """Share of a core at the robot's control rate, by deadlines on the steady clock [%]."""
    start, processor = time.monotonic(), time.process_time()
    for tick in range(1, max(1, round(seconds / ANT.control_period)) + 1):
        decide()
        time.sleep(max(0.0, start + tick * ANT.control_period - time.monotonic()))
    return 100.0 * (time.process_time() - processor) / (time.monotonic() - start)


def _litert(bundle: Bundle, variant: str) -> BundleActor:
    return load_actor(bundle, "litert", variant)


def _keras_function(bundle: Bundle, variant: str) -> BundleActor:
    return load_actor(bundle, "keras", variant)


def _keras_eager(bundle: Bundle, variant: str) -> BundleActor:
    from policy_node.keras_actor import KerasGraph  # TensorFlow: seconds and hundreds of megabytes
    graph: Graph = KerasGraph(bundle.member(bundle.variant(variant, ".keras")), compiled=False)
    return BundleActor(graph, bundle.manifest)


def _numpy(bundle: Bundle, variant: str) -> BundleActor:
    from trainer.compress.numpy_graph import NumpyGraph  # the reader of LiteRT files, which other kinds don't need
    return BundleActor(NumpyGraph(bundle.member(bundle.variant(variant, ".tflite"))), bundle.manifest)


KINDS: dict[str, Callable[[Bundle, str], BundleActor]] = {
    "litert": _litert, "keras_eager": _keras_eager, "keras_function": _keras_function, "numpy": _numpy}


def main() -> int:
    """Measure the job on stdin, a JSON table; returns the exit code."""
    try:
        figures = run(Job(**json.load(sys.stdin)))
    except (ValueError, OSError) as error:  # of the bundle, the job or the observations
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(asdict(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
