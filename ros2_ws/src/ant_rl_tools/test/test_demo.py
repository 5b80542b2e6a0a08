"""Demonstrations: which tasks are met, what is drawn of a belief, and that both robots are in the same task."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
from drawing import needs_egl

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.task import Task
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import shipped_policies
from ant_rl_core.step import TimeStepEnv
from ant_rl_tools.demo import lines, picture
from ant_rl_tools.demo.scenes import NOMINAL, SCENES, offered, scene_named
from ant_rl_tools.demo.show import Show

WIRED = SCENES["wired"]


class Scripted:
    """An actor with given torques, which believes what it is given."""

    version = 1

    def __init__(self, torque=0.1, beliefs=()):
        self.torque, self.beliefs = torque, list(beliefs)

    def initial_state(self, num_envs):
        return ()

    def act(self, observation, previous, state, reset_mask):
        extras = {"belief": np.array([self.beliefs.pop(0)], np.float32)} if self.beliefs else {}
        return np.full((1, 8), self.torque, np.float32), extras, ()


@pytest.mark.parametrize("name", SCENES)
def test_tasks_are_held_out_near_each_other_and_those_of_the_seed(name):
    scene = SCENES[name]
    drawn = scene.tasks.held_out or scene.tasks.train
    if scene.all_tasks:
        drawn = (*scene.tasks.train, *scene.tasks.held_out)
    chosen = [scene.choose(seed) for seed in range(20)]
    assert chosen == [scene.choose(seed) for seed in range(20)]
    assert all(then in drawn and scene.difference(first, then) > 0 for first, then in chosen)
    if scene.starts_nominal:
        assert {first for first, _ in chosen} == {NOMINAL}
    else:
        assert all(first in drawn for first, _ in chosen) and len(set(chosen)) > 10
    for task in (*scene.tasks.train, *scene.tasks.held_out):
        truth = scene.truth(task)
        assert truth.shape == (len(scene.parts),) and np.abs(truth).max() <= 1 and scene.is_believed(truth, task).all()


def test_as_many_wires_are_changed_as_the_scene_says():
    pairs = [WIRED.choose(seed) for seed in range(50)]
    differ = [sum(a != b for a, b in zip(first.gear, then.gear, strict=True)) for first, then in pairs]
    assert WIRED.apart == (2, 6) and min(differ) >= 2 and max(differ) <= 6 and len(set(differ)) > 2


def test_where_one_task_is_held_out_all_are_shown():
    pairs = [SCENES["lost_leg"].choose(seed) for seed in range(40)]
    assert {first.name for first, _ in pairs} == {"nominal"}
    assert {then.name for _, then in pairs} == {f"leg {leg} lost" for leg in range(4)}


def test_tasks_that_are_named_are_taken():
    first, then = WIRED.choose(0, "wired --------", "wired ++++++++")
    assert set(first.gear) == {-1.0} and set(then.gear) == {1.0}
    with pytest.raises(ArgumentError, match="unknown task 'wired 1'; the nearest one is 'wired .*', and ./run tasks "
                                            "wired lists them all"):
        WIRED.choose(0, "wired 1")
    with pytest.raises(ArgumentError, match="unknown task 'leg 3 lost'"):  # of another distribution
        WIRED.choose(0, "", "leg 3 lost")


def test_a_scene_is_offered_where_its_policies_ship(monkeypatch, tmp_path):
    assert "wired" in offered() and {scene.memoryless for scene in SCENES.values()} <= set(shipped_policies())
    folder = tmp_path / "share" / "ant_rl" / "policies"
    folder.mkdir(parents=True)
    (folder / "default.zip").touch()
    (folder / "lost_leg.zip").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert list(offered()) == ["lost_leg"] and scene_named("lost_leg") is SCENES["lost_leg"]
    with pytest.raises(ArgumentError, match="demo wired needs the shipped policies wired and default, which are not "
                                            "both here; there are lost_leg"):
        scene_named("wired")
    with pytest.raises(ArgumentError, match="there is no demo lost_log; did you mean lost_leg?"):
        scene_named("lost_log")
    with pytest.raises(ArgumentError, match="there is no demo xyz; there are lost_leg"):
        scene_named("xyz")


@pytest.mark.parametrize("value, drawn", [
    (0.0, " " * 12 + "|" + " " * 12), (1.0, " " * 12 + "|" + "#" * 12), (-0.5, " " * 6 + "#" * 6 + "|" + " " * 12),
    (3.0, " " * 12 + "|" + "#" * 12), (0.03, " " * 12 + "|" + " " * 12)])
def test_a_bar_goes_from_the_middle(value, drawn):
    assert lines.bar(value) == drawn


def test_bars_of_a_picture_end_where_they_should():
    belief, truth = np.array([1.0, -1.0, 0.0, 0.5]), np.array([1.0, 1.0, -1.0, 1.0])
    drawn = picture.bars("abcd", belief, truth, np.array([True, False, False, True]), 200).astype(int)
    assert drawn.shape == (picture.BARS_HEIGHT, 200, 3)
    green, orange = ((np.abs(drawn - color) < 10).all(axis=2) for color in ((70, 170, 90), (215, 120, 40)))
    tall = [green[:, 25].sum(), orange[:, 75].sum(), orange[:, 125].sum(), green[:, 175].sum()]
    assert tall[0] == pytest.approx(tall[1], abs=3) and tall[0] == pytest.approx(2 * tall[3], abs=4)
    assert tall[0] > 30 and tall[2] <= 1
    assert np.flatnonzero(green[:, 25]).max() <= np.flatnonzero(orange[:, 75]).min() + 1  # up and down


def test_both_meet_the_same_tasks_at_the_same_ticks_and_what_they_believe_is_told():
    signs = np.array(WIRED.choose(0)[0].gear)
    first, then = WIRED.choose(0)
    nearly = signs.copy()
    nearly[3] *= -1
    at = round(WIRED.change_at / 0.05)
    ticks = at + 4
    beliefs = [nearly] * 2 + [signs] * at + [np.array(then.gear)] * 2
    show = Show(WIRED, (first, then), 5, ticks, (Scripted(beliefs=beliefs), Scripted()))
    env = TimeStepEnv(TaskAnt(1, None, seed=5, num_threads=1))
    env.reset(5)
    total = 0.0
    while show.tick < ticks:
        if show.tick in (0, at):
            env.env.set_task(0, (first, then)[show.tick > 0])
        total += float(env.step(np.full((1, 8), 0.1, np.float32)).reward[0])
        show.step()
        if show.tick == 1:
            assert "7 of 8 believed rightly; default" in lines.line(show)
            assert sum("not yet" in text for text in lines.block(show)) == 1
            assert f"another one in {WIRED.change_at - 0.05:.2f} s" in lines.block(show)[0]
    adaptive, memoryless = show.robots
    assert adaptive.total == memoryless.total == pytest.approx(total, abs=1e-5)
    assert adaptive.rightly == [3, 3] and memoryless.rightly == [None, None]
    told = lines.summary(show)
    assert "all believed rightly 3 ticks (0.15 s) after the start, 3 ticks (0.15 s) after the change" in told[0]
    assert "believed" not in told[1] and "no fall" in told[1]
    assert len(lines.block(show)) == 15 and f"{then.name} since {WIRED.change_at:.2f} s" in lines.block(show)[0]
    env.close()
    show.close()


def test_falls_are_counted_and_the_task_stays():
    first, then = WIRED.choose(0)
    show = Show(WIRED, (first, then), 3, 200, (Scripted(), Scripted()))
    for robot in show.robots:  # thrown up: its torso is where that of one that stands can't be
        robot.walker.ant.data(0).qpos[2] = 2.0
    show.step()
    for robot in show.robots:
        assert robot.falls == 1 and robot.walker.ant.tasks == (first,)
        assert np.isfinite(robot.distance) and robot.walker.time_step.step[0] == 0
    assert all("fell 1 time" in text for text in lines.summary(show))
    show.close()


@pytest.mark.parametrize("rightly, words", [
    ([1], "all believed rightly 1 tick (0.05 s) after the start"),
    ([4, None], "all believed rightly 4 ticks (0.20 s) after the start, not at all after the change")])
def test_what_was_never_believed_is_told(rightly, words):
    assert lines.ticks_in_words(rightly) == words


def test_a_change_is_told_in_the_caption_for_a_while():
    robot = SimpleNamespace(role="adaptive", name="wired", speed=1.0, total=2.0, falls=0)
    show = SimpleNamespace(time=1.6, since=30, task=Task("other"))
    assert picture.caption(show, robot)[1] == "other   changed!"
    show.time = 4.0
    assert picture.caption(show, robot)[1] == "other"


def demo(*words):
    return subprocess.run([sys.executable, "-m", "ant_rl", "demo", *words], env=dict(os.environ), capture_output=True,
                          text=True, timeout=120)


@needs_egl
def test_a_second_of_it_as_lines_and_as_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    done = demo("wired", f"output:={path}", "seconds:=1", "task:=wired --------")
    assert done.returncode == 0, done.stderr
    _, line, adaptive, memoryless, written = done.stdout.splitlines()
    assert line.startswith("1.00 s, wired --------: wired ")
    assert re.search(r", \d of 8 believed rightly; default ", line)
    assert adaptive.startswith("wired (adaptive):") and " m in 1.00 s" in adaptive
    assert memoryless.startswith("default (memoryless):") and written.startswith(f"{path}: 20 frames, 1.00 s")
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert len(frames) == 20 and frames[0].shape[1] == 960
    below = frames[-1][-picture.BARS_HEIGHT:]
    assert (np.abs(below[:, :480] - frames[0][-picture.BARS_HEIGHT:, :480]).max(axis=2) > 60).any()  # the bars move


@pytest.mark.parametrize("words, sentence", [
    ([], "demo needs what to show: ./run demo wired"),
    (["wird"], "there is no demo wird; did you mean wired?"),
    (["wired", "task:=wired"], "unknown task 'wired'; the nearest one is "),
    (["wired", "seconds:=0"], "seconds must be from 0.05 to 3600, found 0"),
    (["wired", "output:=/nowhere/a.mp4"], "output must be in a folder that exists"),
    (["wired", "sed:=3"], "unknown argument 'sed'; the nearest one is 'seed'"),
])
def test_one_sentence_and_exit_code_2(capsys, words, sentence):
    from ant_rl import cli
    assert cli.main(["demo", *words]) == 2
    found = capsys.readouterr()
    assert not found.out and found.err.count("\n") == 1 and sentence in found.err
