"""What is said of a model's imagination beside a recording, against models whose errors are known."""

import json
import re
import subprocess
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest
from small_bags import observed

from ant_env_node.beside.again import Again
from ant_rl_core.settings import ArgumentError
from ant_rl_tools.model.reading import of_recording
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report import command, imagined_chart
from ant_rl_tools.report.imagining import beside, judged
from trainer import checkpoint
from trainer.models import model_file
from trainer.models.ensemble import EnsembleConfig
from trainer.models.interface import Moment, start
from trainer.models.learned import LearnedModel

GOLDEN = Path(__file__).resolve().parents[4] / "tests" / "golden"
STEPS = 5


class Simulator:
    """What comes is what is imagined, but for what is planted.

    Args:
        moved: by so much too far along x, in each step [m].
        off: [27], by so much the state is another; the simulation goes on from the true one.
        falls: in which step the torso is imagined to lie on the ground; 0: in none.
    """

    def __init__(self, moved=0.0, off=0.0, falls=0):
        self.moved, self.off, self.falls, self.steps, self.again = moved, off, falls, 0, Again()

    def begin(self, observation, branches=1):
        self.steps = 0
        return start(np.asarray(observation, np.float64), branches)

    def step(self, moment, action):
        self.steps += 1
        before = moment.state if moment.inside is None else moment.inside
        found = self.again.run(before, action[None])
        displacement = found.displacement[0] + (self.moved, 0)
        state = found.state[0] + self.off
        if self.steps == self.falls:
            state[:, 0] = 0.1
        return Moment(state, moment.place + displacement, displacement, found.contact[0], inside=found.state[0])


@pytest.fixture(scope="module")
def walked():
    with Recording(GOLDEN / "default") as recording:
        return of_recording(recording)


def test_figures_are_what_was_planted(walked):
    scale = np.concatenate([each.state for each in walked]).std(axis=0)
    off = np.where(np.arange(27) < 13, 0.0, 0.3 * scale)  # velocities: they end no episode
    right, wrong = judged(Simulator(), walked, STEPS), judged(Simulator(0.01, off), walked, STEPS)
    assert right.steps == STEPS and 200 < len(right.came) < 250
    assert right.learned.error.max() < 0.01 < 1 < right.copied.error[-1]
    np.testing.assert_allclose(np.median(right.imagined - right.came), 0, atol=0.01)
    # 0.01 m in 0.05 s are a reward of 0.2 per step.
    np.testing.assert_allclose(wrong.learned.reward_error, 0.2 * np.arange(1, STEPS + 1), atol=0.01)
    np.testing.assert_allclose(np.median(wrong.imagined - wrong.came), 0.2 * STEPS, atol=0.01)
    np.testing.assert_allclose(wrong.learned.error, 0.3 * np.sqrt(14 / 27), rtol=0.02)
    assert f"off by 1.00 of {wrong.learned.reward[-1]:.1f} (" in wrong.sentence()
    assert "imagined state by 0.216 standard" in wrong.sentence()
    figure = imagined_chart.chart(["walk"], [wrong]).figure
    drawn = {trace.name: trace for trace in figure.data if trace.xaxis == "x2"}
    np.testing.assert_array_equal(drawn["imagined by the model"].y, wrong.learned.error)
    np.testing.assert_array_equal(drawn["copying the state"].y, wrong.copied.error)
    (sums,) = [trace for trace in figure.data if trace.mode == "markers"]
    np.testing.assert_array_equal(sums.y, wrong.imagined)
    both = imagined_chart.chart(["a", "b"], [right, wrong])
    assert both.sentence.count("moments") == 2 and "b: over 5 steps" in both.sentence


def test_paths_begin_where_the_robot_was_and_end_with_an_imagined_fall(walked):
    parts = [walked[0], walked[1].part(0, 40)]
    for found, part in zip(beside(Simulator(0.01), parts, STEPS), parts, strict=True):
        count = len(part) + 1 - STEPS
        assert len(found.path) == len(found.reward) == len(found.came) == count
        assert (found.place[0, :2] == 0).all() and (found.place[:, 2] == part.state[:, 0]).all()
        for k in range(STEPS + 1):
            shown = found.path[:, k] - found.place[k:k + count] - (0.01 * k, 0, 0)
            assert np.median(np.abs(shown), axis=0).max() < 1e-4
        np.testing.assert_allclose(found.came, [part.reward[i:i + STEPS].sum() for i in range(count)], atol=0.05)
        np.testing.assert_allclose(np.median(found.reward - found.came), 0.2 * STEPS, atol=0.01)
    (fell,) = beside(Simulator(falls=2), parts[1:], STEPS)
    assert np.isfinite(fell.path[:, :3]).all() and np.isnan(fell.path[:, 3:]).all()
    assert len(walked[0]) == 10 and (fell.path[:, 2, 2] == 0.1).all()
    # Who lies earns no bonus for being healthy.
    two = [fell.stretch.reward[i:i + 2].sum() - 1 for i in range(36)]
    assert np.median(np.abs(fell.reward - two)) < 0.01
    (short,) = beside(Simulator(), [parts[0].part(0, 3)], STEPS)
    assert len(short.path) == 0 and len(short.place) == 4


def test_stretches_know_their_ticks(tmp_path):
    for path in (GOLDEN / "default", observed(tmp_path / "gap", [0, 1, 2, 4, 5])):
        with Recording(Path(path)) as recording:
            found, ticks = of_recording(recording), list(recording.ticks())
        for each in found:
            seen = [tick.time_step.observation[each.row] for tick in ticks[each.tick:each.tick + len(each)]]
            np.testing.assert_array_equal(each.observation[:-1], seen)
            later = each.part(2, 999)
            assert later.tick == each.tick + 2 and len(later) == max(0, len(each) - 2)
    assert [(each.tick, len(each)) for each in found] == [(0, 2), (3, 1)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.npz"
    model_file.write(path, LearnedModel(EnsembleConfig(members=1, model_hidden=(4,))))
    return path


def test_the_command_says_and_draws_it(model, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert command.main([str(GOLDEN / "default"), f"model:={model}", "imagined_steps:=3", f"output:={page}"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[2].startswith("  default: over 3 steps from 2")
    text = page.read_text()
    assert escape(said[2].partition("default: ")[2]) in text
    found = re.findall(r'<(?:h2|div) id="([^"]+)"', text)
    assert {"imagined", "imagined_beside"} < set(found) and len(set(found)) == len(found)


def test_what_can_not_be_imagined_is_refused_in_a_sentence(model, tmp_path):
    default, output, given = str(GOLDEN / "default"), f"output:={tmp_path / 'page.html'}", f"model:={model}"
    (tmp_path / "text.npz").write_text("no model")
    whole = dict(checkpoint.load(model))
    manifest = json.loads(str(whole["manifest"]))
    for name, changes in (("robot", {"robot": "Ant-v4"}), ("sizes", {"inputs": 112})):
        changed = np.asarray(json.dumps({**manifest, **changes}))
        checkpoint.save(tmp_path / f"{name}.npz", {**whole, "manifest": changed})
    for words, match in (
            ([default, f"model:={tmp_path / 'none.npz'}"], "none.npz: expected the file of an environment model"),
            ([default, f"model:={tmp_path / 'text.npz'}"], "expected the file of an environment model, such as"),
            ([default, f"model:={tmp_path / 'robot.npz'}"], "expected a model of an Ant-v5, found one of Ant-v4"),
            ([default, f"model:={tmp_path / 'sizes.npz'}"], "expected a model of 35 inputs and 30 outputs, found"),
            ([observed(tmp_path / "single", [0]), given], "must hold transitions, found 1 observations"),
            ([observed(tmp_path / "other", [0, 1], size=27), given], "must be of an Ant-v5"),
            ([observed(tmp_path / "short", [0, 1, 2]), given], "5 steps needs as many in one episode, found 2"),
            ([str(GOLDEN / "wired"), given], "wired: expected steps of the stock Ant-v5, found "),
            ([default, given, "imagined_steps:=51"], "imagined_steps must be"),
            ([default, "rerun:=a.rrd", "imagined_steps:=3"], "model must name what is to imagine where imagined_steps "
             "and rerun is given")):
        with pytest.raises(ArgumentError, match=match) as error:
            command.main([*words, output])
        assert "\n" not in str(error.value)
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -r requirements/viewer.txt")
    for words, match in (([f"rerun:={tmp_path / 'page.html'}"], "rerun must be another file than output"),
                         ([f"rerun:={model}"], "rerun must not be what is read"),
                         ([str(GOLDEN / "ppo"), f"rerun:={tmp_path}/a.rrd"], "rerun shows one recording, found 2")):
        with pytest.raises(ArgumentError, match=match):
            command.main([default, given, output, *words])
    assert not (tmp_path / "page.html").exists() and not (tmp_path / "a.rrd").exists()


def test_without_a_model_no_learning_library_is_imported(tmp_path):
    code = ("import sys\nfrom ant_rl_tools.report import command\n"
            f"assert command.main([{str(GOLDEN / 'default')!r}, 'output:={tmp_path / 'page.html'}']) == 0\n"
            "assert not {'tensorflow', 'keras'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
