"""The order of learning over ROS without ROS: what goes out, when, and that the weights are those of one process."""

import csv
from functools import partial

import numpy as np
import pytest

from ant_rl_core.spec import ANT, RobotSpec
from ant_rl_core.testing import FakeVectorEnv
from ant_rl_core.tick import Tick
from trainer import checkpoint
from trainer.algorithms.table import ALGORITHMS
from trainer.ros import session as module
from trainer.ros.outbox import CannotBegin
from trainer.ros.session import Pace, Session
from trainer.runs import train
from trainer.runs.folder import RunFolder
from trainer.runs.train_config import choose, choose_over_ros

WAIT = 20.0  # [s] bound of every wait


class Outbox:
    """Everything that a session says, in order."""

    def __init__(self):
        self.said, self.held, self.version = [], False, 0

    def hold(self):
        self.held = True
        self.said.append("hold")

    def release(self):
        self.held = False
        self.said.append("release")

    def send_policy(self, bundle, version):
        self.version = version
        self.said.append(("policy", version))

    def send_progress(self, algorithm, figures, metrics):
        self.said.append(("progress", figures["env_steps"], figures["updates"], metrics))

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, key, sentence):
        self.said.append((key, sentence))

    def take(self):
        said, self.said = self.said, []
        return said


# -- the same weights, whoever drives ----------------------------------------------------------------------------------

RUN = {"num_envs": "2", "num_threads": "1", "seed": "3", "curve_interval": "1", "evaluation_episodes": "0",
       "checkpoint_interval": "1000000"}
METHODS = {
    "ppo": {"rollout_length": "16", "minibatch_size": "32", "epochs": "2", "actor_hidden": "8", "critic_hidden": "8",
            "total_steps": "192"},
    # The noise of its targets is drawn in the gradient steps.
    "td3": {"learning_starts": "20", "batch_size": "4", "actor_hidden": "8", "critic_hidden": "8",
            "embedding_size": "0", "updates_per_step": "0.5", "total_steps": "100"},
}
STOPS = {"ppo": (64, 128), "td3": (38, 70)}


class Recorded:
    """An environment that keeps what was done and what came of it, and lets the run be stopped on the way."""

    def __init__(self, env, at=None, stop=None):
        self.env, self.at, self.stop = env, at, stop
        self.actions, self.steps = [None], []

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self, seed=None):
        self.steps.append(self.env.reset(seed))
        return self.steps[-1]

    def step(self, action):
        self.actions.append(action)
        self.steps.append(self.env.step(action))
        if self.at == 2 * (len(self.steps) - 1):
            self.stop()
        return self.steps[-1]


class Replayed:
    """An environment in which what was recorded happens again, from one tick on."""

    def __init__(self, env, recorded, tick):
        self.env, self.recorded, self.tick = env, recorded, tick

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self, seed=None):
        return self.recorded.steps[self.tick]

    def step(self, action):
        self.tick += 1
        np.testing.assert_array_equal(action, self.recorded.actions[self.tick])
        return self.recorded.steps[self.tick]

    def act(self, observation, previous, state, reset_mask):
        return self.recorded.actions[self.tick + 1], {}, state


def in_process(method, arguments, wrap, prepare=lambda run: None):
    """Train in one process, in an environment wrapped by `wrap`; what wraps it."""
    run = train.Run(method, *choose(method, arguments))
    run.env = wrap(run.env, run)
    prepare(run)
    run._start = run.env.reset() if isinstance(run.env, Replayed) or not run.config.resume else run._start
    run.train()
    run.close()
    return run.env


def let_learn(session, env_steps):
    """Wait until a session has learned from so many steps, piece by piece, and owes nothing."""
    for _ in range(2 * env_steps):
        session._learning.call(lambda: None).result(WAIT)
        if not session._learning.behind:
            break


def over_ros(method, folder, recorded, begin, end, in_line):
    """A session that goes on with the run in the folder, fed the recorded ticks from step `begin` to step `end`."""
    chosen = choose_over_ros(method, {}, str(folder), seed=77, checkpoint_interval=0, resume=True)
    out = Outbox()
    learner = ALGORITHMS[method].learner
    session = Session(
        lambda rows: learner(chosen.learner, rows, ANT.observation_size, ANT.action_size, chosen.train.seed, robot="x"),
        learner.on_policy, chosen.learner.total_steps, [""], out, RunFolder(method, chosen), in_line=in_line)
    for tick in range(begin // 2, end // 2 + 1):
        assert session.take("", Tick(1, tick, recorded.steps[tick], recorded.actions[tick], {}, out.version))
        session.tend()
    let_learn(session, end)
    session.end()
    session.close()
    assert session.values()["env_steps"] == end and session.values()["dropped_rows"] == 0
    return out


def rows(folder):
    with open(folder / "curve.csv", newline="") as file:
        return [{name: value for name, value in row.items()
                 if name not in ("wall_seconds", "steps_per_second", "mean_return", "mean_length")}
                for row in csv.DictReader(file)]


@pytest.mark.parametrize(("method", "in_line"), [("ppo", True), ("td3", True), ("td3", False)])
def test_the_weights_are_those_of_an_unbroken_run_in_one_process(eager, tmp_path, method, in_line, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = {**RUN, **METHODS[method]}
    recorded = in_process(method, {**arguments, "output": str(whole)}, lambda env, run: Recorded(env))
    first, second = STOPS[method]
    in_process(method, {**arguments, "output": str(broken)}, lambda env, run: Recorded(env, first, run.stop))
    assert int(checkpoint.load(broken / "checkpoint.npz")["learner.env_steps"]) == first

    out = over_ros(method, broken, recorded, first, second, in_line)
    saved = checkpoint.load(broken / "checkpoint.npz")
    assert int(saved["learner.env_steps"]) == second and not any(name.startswith("env.") for name in saved)
    assert out.version >= 1_000_000 and f"resumed from {broken / 'checkpoint.npz'} at {first} steps" in out.said
    capsys.readouterr()

    def replay(run):
        run.learner.act = run.env.act

    in_process(method, {"output": str(broken), "resume": "true"},
               lambda env, run: Replayed(env, recorded, second // 2), replay)
    said = capsys.readouterr().err
    assert f"robots are not in its checkpoint: new episodes begin at {second} steps" in said

    expected, found = (checkpoint.load(folder / "checkpoint.npz") for folder in (whole, broken))
    names = {name for name in expected if name.startswith("learner.")} - {"learner.noise", "learner.version"}
    assert len(names) > 10 and names <= set(found)
    assert [name for name in sorted(names) if not np.array_equal(found[name], expected[name])] == []
    assert int(found["learner.version"]) > 1_000_000
    # The curve too: each row once, with the metrics that it has in one process.
    assert rows(broken) == rows(whole) and len(rows(whole)) == (6 if method == "ppo" else 50)


# -- what goes out, and when -------------------------------------------------------------------------------------------

SPEC = RobotSpec("fake", 6, 2, 1.0)


class FakeLearner:
    """Learns after every `length` ticks; its policy tells its version."""

    name = "fake"

    def __init__(self, num_envs, on_policy, length=2):
        self.num_envs, self.on_policy, self.length = num_envs, on_policy, length
        self.version, self.env_steps, self.waiting, self.seen = 1, 0, 0, []

    def observe(self, batch):
        self.env_steps += self.num_envs
        self.waiting += 1
        self.seen.append(batch.policy_version)

    def ready(self):
        return self.waiting >= self.length

    def update(self):
        self.waiting = 0
        self.version += 1
        return {"loss": float(self.version)}

    def renumber(self, version):
        self.version = version

    def policy(self, provenance=None):
        return repr(sorted(provenance)).encode()


def ticks(count, num_envs=1):
    """Consecutive ticks of a fake environment, without a version."""
    env = FakeVectorEnv(num_envs, lengths=(4,), spec=SPEC)
    found = [partial(Tick, 1, 0, env.reset(), None, {})]
    for k in range(1, count):
        action = np.full((num_envs, 2), k / 100, np.float32)
        found.append(partial(Tick, 1, k, env.step(action), action, {}))
    return found


def begun(on_policy, total_steps=1000, **options):
    """A session, its outbox and its learner, which is made."""
    out, made = Outbox(), []

    def make(rows):
        made.append(FakeLearner(rows, on_policy))
        return made[-1]

    session = Session(make, on_policy, total_steps, [""], out, **options)
    return session, out, made


def test_an_on_policy_learner_holds_learns_publishes_and_releases_in_this_order():
    session, out, made = begun(True, total_steps=4)
    first, *later = ticks(6)
    session.take("", first(0))
    assert out.take() == ["hold", ("policy", 1)]
    session.tend()
    assert out.take() == ["release"]
    session.take("", later[0](1))
    session.take("", later[1](1))
    assert out.take() == ["hold", ("policy", 2), "release", ("progress", 2, 1, {"loss": 2.0})]
    assert session.detail == "learning; the environments are on hold"
    session.take("", later[2](1))  # chosen before the new policy came
    assert session.detail == "" and made[0].seen == [1, 1] and session.values()["dropped_rows"] == 1
    session.take("", later[3](2))
    session.take("", later[4](2))
    assert out.take() == ["hold", ("policy", 3), "release", ("progress", 4, 2, {"loss": 3.0})]
    assert session.done and made[0].seen == [1, 1, 2, 2]


def test_what_waits_when_a_new_policy_comes_is_dropped():
    out, learner = Outbox(), FakeLearner(2, True)
    session = Session(lambda rows: learner, True, 100, ["a", "b"], out)
    for source in ("a", "b"):
        session.take(source, ticks(1)[0](0))
    for tick in ticks(5)[1:]:
        session.take("a", tick(1))
    for tick in ticks(3)[1:]:
        session.take("b", tick(1))
    assert learner.seen == [1, 1] and session.values()["dropped_rows"] == 2


def test_a_higher_version_that_runs_is_outrun_once():
    session, out, made = begun(True)
    first, *later = ticks(5)
    session.take("", first(40))
    assert out.take()[-1] == ("policy", 41)
    session.take("", later[0](700))
    assert out.take() == ["policy version 700 is running: going on with higher ones", ("policy", 701)]
    session.take("", later[1](700))
    assert out.take() == []
    session.take("", later[2](701))
    assert made[0].seen == [701]


def test_policies_of_a_method_that_learns_all_the_time_go_by_the_clock():
    now = [0.0]
    session, out, made = begun(False, in_line=True, policy_interval=5.0, clock=lambda: now[0])
    for k, tick in enumerate(ticks(21)):
        now[0] = float(k)
        session.take("", tick(0))
        session.tend()
    policies = [said for said in out.said if said[0] == "policy"]
    assert policies == [("policy", version) for version in (1, 3, 6, 8, 11)]  # at 0, 5, 10, 15 and 20 s
    progress = [said for said in out.said if said[0] == "progress"]
    assert progress[0] == ("progress", 1, 0, {}) and progress[1] == ("progress", 2, 1, {"loss": 2.0})
    assert len(progress) == 20


def test_a_pace_sends_what_it_asks_for():
    session, out, made = begun(False, in_line=True, pace=Pace({3, 5}.__contains__, {2, 5}.__contains__))
    for tick in ticks(13):
        session.take("", tick(0))
    assert [said for said in out.said if said[0] == "policy"] == [("policy", 1), ("policy", 3), ("policy", 5)]
    assert [said for said in out.said if said[0] == "progress"] == [
        ("progress", 4, 2, {"loss": 2.5}), ("progress", 10, 5, {"loss": 5.0})]


def test_environments_wait_while_a_thread_catches_up(monkeypatch):
    monkeypatch.setattr(module, "MAX_BEHIND", 3)

    class Slow:
        """Learning that goes on when told to."""

        def __init__(self, learner):
            self.learner, self.waiting = learner, []

        behind = property(lambda self: len(self.waiting))

        def take(self, batch):
            self.waiting.append(batch)

        def call(self, function):
            return module.InlineLearning.call(self, function)

        def metrics(self):
            return []

    monkeypatch.setattr(module, "BackgroundLearning", Slow)
    now = [0.0]
    session, out, made = begun(False, clock=lambda: now[0])
    given = iter(ticks(20))
    session.take("", next(given)(0))
    session.tend()
    assert out.take() == ["hold", ("policy", 1), "release"]
    for _ in range(5):
        session.take("", next(given)(1))
    session.tend()
    session.tend()
    assert out.take() == ["hold"] and session.catching_up and session.detail
    now[0] = 1.5  # an environment that was started anew may run
    session.tend()
    assert out.take() == ["hold"]
    session._learning.waiting.pop()
    session.tend()
    assert out.take() == [] and session.catching_up
    session._learning.waiting.clear()
    session.tend()
    assert out.take() == ["release"] and not session.catching_up


def test_exactly_the_steps_that_were_asked_for_are_learned_from():
    session, out, made = begun(False, total_steps=7, policy_interval=0.0)
    for tick in ticks(30):
        session.take("", tick(0))
    let_learn(session, 7)
    session.tend()
    session.close()
    assert session.done and made[0].env_steps == 7 and made[0].version == 4
    assert [said for said in out.said if said[0] == "policy"][-1] == ("policy", 4)
    assert out.said[-1][:3] == ("progress", 7, 3)


def test_other_robots_than_before_are_left_out_and_listening_anew_joins_nothing():
    session, out, made = begun(True)
    first, second, third, fourth = ticks(4)
    session.take("", first(0))
    assert not session.take("", ticks(2, num_envs=3)[1](1)) and session.rows == {"": 1}
    out.take()
    session.open()
    assert out.take() == [("policy", 1)]
    session.take("", second(1))
    session.take("", third(1))
    assert made[0].env_steps == 1


# -- the folder --------------------------------------------------------------------------------------------------------

def small(folder, method="ppo", **changes):
    return {**RUN, **METHODS[method], "output": str(folder), **changes}


def resumed(method, folder, rows, arguments=None):
    """A session that goes on with the run in the folder and is shown the first tick of so many robots."""
    chosen = choose_over_ros(method, arguments or {}, str(folder), 0, 0, True)
    learner = ALGORITHMS[method].learner
    out = Outbox()
    session = Session(lambda rows: learner(chosen.learner, rows, ANT.observation_size, ANT.action_size, 0, robot="x"),
                      learner.on_policy, chosen.learner.total_steps, [""], out, RunFolder(method, chosen))
    session.take("", Tick(1, 0, FakeVectorEnv(rows).reset()))
    session.close()
    return session, out


def test_a_run_is_not_taken_over_with_other_robots_networks_or_methods(eager, tmp_path):
    assert train.main("ppo", small(tmp_path, total_steps="32")) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CannotBegin, match="a run with num_envs:=2, found num_envs:=3: give the robots num_envs:=2, or"):
        resumed("ppo", tmp_path, 3)
    with pytest.raises(CannotBegin, match="the checkpoint is of other networks than these settings give"):
        resumed("ppo", tmp_path, 2, {"actor_hidden": "9"})
    with pytest.raises(ValueError, match="holds a run of ppo, not of td3"):
        resumed("td3", tmp_path, 2)
    with pytest.raises(ValueError, match="unknown argument 'num_envs'"):
        resumed("ppo", tmp_path, 2, {"num_envs": "2"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_checkpoint_of_an_earlier_version_is_refused_with_a_sentence(eager, tmp_path):
    assert train.main("ppo", small(tmp_path, total_steps="32")) == 0
    path = tmp_path / "checkpoint.npz"
    old = {name.removeprefix("learner."): array for name, array in checkpoint.load(path).items()
           if name.startswith("learner.")}
    checkpoint.save(path, old)
    with pytest.raises(CannotBegin, match="is of other networks than these settings give"):
        resumed("ppo", tmp_path, 2)
    (tmp_path / "config.json").unlink()  # which the trainer node did not write
    with pytest.raises(ValueError, match=r"holds no run to go on with \(.*config.json'\): choose another output:=$"):
        resumed("ppo", tmp_path, 2)


def test_a_resumed_session_takes_a_new_block_of_versions_and_says_so_in_its_checkpoint(eager, tmp_path):
    assert train.main("ppo", small(tmp_path, total_steps="32")) == 0
    _, out = resumed("ppo", tmp_path, 2, {"total_steps": "64"})
    assert out.version == 1_000_000
    assert int(checkpoint.load(tmp_path / "checkpoint.npz")["learner.version"]) == 1_000_000
    _, out = resumed("ppo", tmp_path, 2)
    assert out.version == 2_000_000
    # What was given is kept; the run is prolonged.
    assert choose_over_ros("ppo", {}, str(tmp_path), 0, 0, True).learner.total_steps == 64


def test_a_finished_run_is_finished_again(eager, tmp_path):
    assert train.main("ppo", small(tmp_path, total_steps="32")) == 0
    (tmp_path / "policy.zip").unlink()
    session, out = resumed("ppo", tmp_path, 2)
    assert session.done and out.said[-1] == f"32 steps learned from, policy in {tmp_path / 'policy.zip'}"
    assert (tmp_path / "policy.zip").exists()


def test_without_room_for_the_last_checkpoint_the_policy_is_there_and_it_is_no_success(eager, tmp_path, monkeypatch):
    assert train.main("ppo", small(tmp_path, total_steps="32")) == 0
    (tmp_path / "policy.zip").unlink()

    def full(*_):
        raise checkpoint.CheckpointError("no room")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(checkpoint.CheckpointError, match="no room"):
        resumed("ppo", tmp_path, 2)
    assert (tmp_path / "policy.zip").exists()
