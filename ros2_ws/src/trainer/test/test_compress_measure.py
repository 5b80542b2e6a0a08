"""An actor is measured in a process that loads no more than the actor, and a process that dies gives the reason."""

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace

import keras
import numpy as np
import pytest

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.bundle import Manifest
from ant_rl_core.step import Previous
from policy_node.actor import BundleActor
from trainer.compress import measure, probe
from trainer.compress.limits import Limits, enforced
from trainer.compress.measure import Speed
from trainer.compress.probe import Figures, Job

BRIEF = {"seconds": 0.05, "paced_seconds": 0.1}
BLOCKED = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tensorflow", "keras", "mujoco", "gymnasium", "ant_env_node", "rclpy"}:
            raise ImportError(name + " is blocked by this test")

sys.meta_path.insert(0, Wall())
from trainer.compress import probe
sys.exit(probe.main())
"""


@pytest.fixture(scope="module")
def path(ant_bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "policy.zip"
    path.write_bytes(ant_bundle)
    return str(path)


def check(figures):
    assert figures.decisions >= 100
    assert 0.0 < figures.p50_us <= figures.p99_us
    assert figures.mean_us * figures.decisions_per_s == pytest.approx(1e6)
    assert figures.cpu_us * figures.decisions_per_s == pytest.approx(1e4 * figures.cpu_percent)
    assert figures.cpu_us > 0.0 and figures.paced_cpu_percent > 0.0
    assert figures.rss_mb >= figures.uss_mb > 1.0


@pytest.mark.parametrize("kind", list(probe.KINDS))
def test_every_kind_of_actor_is_measured(path, kind, tmp_path):
    np.save(tmp_path / "observations.npy", np.random.default_rng(0).normal(size=(7, 105)).astype(np.float32))
    speed = measure.measure(Job(path, kind, observations=str(tmp_path / "observations.npy"), **BRIEF), runs=1)
    assert speed.reason == "" and speed.under == ""
    check(speed.figures)


@pytest.mark.parametrize("kind", ["litert", "numpy"])
def test_small_actors_need_no_training_libraries(path, kind):
    done = subprocess.run([sys.executable, "-c", BLOCKED], input=json.dumps(asdict(Job(path, kind, **BRIEF))),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    check(Figures(**json.loads(done.stdout)))


def test_the_wall_would_show(path):
    done = subprocess.run([sys.executable, "-c", BLOCKED], input=json.dumps(asdict(Job(path, "keras_eager", **BRIEF))),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "keras is blocked by this test" in done.stderr


def test_the_eager_model_is_called_as_it_is(ant_bundle, monkeypatch):
    bundle = policy_bundle.unpack(ant_bundle)
    actors = [probe.KINDS[kind](bundle, "float32") for kind in ("keras_function", "keras_eager")]
    calls = []
    call = keras.Model.__call__
    monkeypatch.setattr(keras.Model, "__call__", lambda self, *args, **kwargs: calls.append(self)
                        or call(self, *args, **kwargs))
    observation = np.random.default_rng(0).normal(size=(1, 105)).astype(np.float32)
    actions, counts = [], []
    for actor in actors:
        actions.append(actor.act(observation, Previous.none(1, 8), (), np.zeros(1, bool))[0])
        counts.append(len(calls))
    assert counts[0] == 0 and counts[1] > 0
    np.testing.assert_allclose(*actions, rtol=1e-5, atol=1e-6)


class Counting:
    """A recurrent graph that adds 1 to its state and keeps what it is given."""

    inputs = {"observation": (3,), "state_0": (2,)}
    outputs = {"action": (1,), "state_0": (2,)}

    def __init__(self):
        self.given = []

    def __call__(self, inputs):
        self.given.append(inputs)
        return {"action": np.zeros((len(inputs["observation"]), 1), np.float32), "state_0": inputs["state_0"] + 1}


def test_observations_come_in_turn_and_the_state_goes_on():
    graph = Counting()
    actor = BundleActor(graph, Manifest("test", "test", 3, 1, 1, state_shapes=((2,),)))
    observations = np.arange(6, dtype=np.float32).reshape(2, 3)
    decide = probe._decisions(actor, observations)
    graph.given.clear()
    for _ in range(3):
        decide()
    for i, given in enumerate(graph.given):
        np.testing.assert_array_equal(given["observation"], observations[[i % 2]])
        np.testing.assert_array_equal(given["state_0"], np.full((1, 2), i, np.float32))


def test_the_paced_actor_decides_at_the_control_rate(monkeypatch):
    now, decided = [100.0], []

    def decide():
        decided.append(now[0])
        now[0] += 0.12 if len(decided) == 2 else 0.01  # the second takes longer than two periods
    monkeypatch.setattr(probe.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(probe.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(probe.time, "process_time", lambda: 0.5 * (now[0] - 100.0))
    assert probe._paced(decide, 0.3) == pytest.approx(50.0)
    assert decided == pytest.approx([100.0, 100.05, 100.17, 100.18, 100.2, 100.25])


@pytest.mark.parametrize(("changes", "words"), [
    ({"bundle": "absent.zip"}, "absent.zip: expected a policy bundle, found none"),
    ({"variant": "int3"}, "the bundle has no variant 'int3' that ends in .tflite; those are float32"),
    ({"observations": "wrong.npy"}, r"observations must be float32 [m, 105] with m > 0, found float32 [4, 3]"),
    ({"observations": "double.npy"}, r"observations must be float32 [m, 105] with m > 0, found float64 [4, 105]"),
    ({"observations": "absent.npy"}, "No such file or directory: 'absent.npy'")])
def test_a_job_that_cannot_be_done_says_why(path, changes, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("wrong.npy", np.zeros((4, 3), np.float32))
    np.save("double.npy", np.zeros((4, 105)))
    speed = measure.measure(replace(Job(path, **BRIEF), **changes), runs=1)
    assert speed.figures is None and speed.reason.startswith("ended with exit code 2; its last words: ")
    assert words in speed.reason


def test_limits_are_in_force_and_named(path):
    speed = measure.measure(Job(path, **BRIEF), Limits(0.5), runs=1)
    assert speed.under.startswith(("cgroup v1: 50 % of one core, 512 MB", "cgroup v2: 50 % of one core, 512 MB",
                                   "affinity to one core and RLIMIT_DATA of 512 MB"))
    check(speed.figures)


def test_an_actor_that_needs_more_memory_than_there_is_says_so(path):
    limits = Limits(1.0, 8 * 10**6)
    with enforced(limits) as confinement:
        if confinement.kills is None:
            pytest.skip(confinement.description)
    assert measure.measure(Job(path, **BRIEF), limits, runs=1).reason == "needs more than 8 MB"


def test_an_actor_that_takes_too_long_says_so(path):
    assert measure.measure(Job(path, **BRIEF), timeout_s=0.01) == Speed(reason="took longer than 0.01 s")


def test_figures_are_medians_over_the_runs_and_a_failure_ends_them(path, monkeypatch):
    answers = [Figures(*[float(value)] * len(fields(Figures))) for value in (3, 1, 10)]
    monkeypatch.setattr(measure, "_run", lambda *_: answers.pop(0))
    assert measure.measure(Job(path)).figures == Figures(*[3.0] * len(fields(Figures)))
    answers[:] = [Figures(*[1.0] * len(fields(Figures))), "needs more than 1 MB"]
    assert measure.measure(Job(path)) == Speed(reason="needs more than 1 MB")


@pytest.mark.parametrize(("wrong", "message"), [
    ({"kind": "onnx"}, "kind must be litert or keras_eager or keras_function or numpy, found 'onnx'"),
    ({"seconds": 0.0}, "seconds must be positive, found 0.0"),
    ({"paced_seconds": -1.0}, "paced_seconds must be positive, found -1.0")])
def test_jobs_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        Job("policy.zip", **wrong)
