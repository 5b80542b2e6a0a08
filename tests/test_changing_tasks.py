"""A recurrent actor in tasks that change: with trials, within episodes, by hand; over DDS as in one process."""

from contextlib import closing
from dataclasses import replace

import numpy as np
from ant_rl_interfaces.msg import RobotTasks
from ant_rl_interfaces.srv import SetTask, Step
from make_recurrent_policy import RECURRENT
from std_srvs.srv import SetBool
from system import System
from test_recording import recorder
from test_replay import edited, replay
from test_two_drivers import ARRAYS, TICKS, Ticks

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.lookup import find_task
from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.presets import PRESETS
from ant_rl_core import bundle
from ant_rl_core.step import TimeStepEnv
from ant_rl_ros.messages import decode_tasks
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report import command, tables
from ant_rl_tools.report.reading import read
from policy_node.actor import load_actor
from trainer.loop import drive
from trainer.ros.collector import Collector

GIVEN = 60  # tick since which the first two robots have a task by hand
BALLS = '{"name": "balls", "hit_radius": 3, "goal": [3, 4]}'  # where they are is told anew at each tick
TASKS = {"tasks": "latency", "hazard": 0.02, "episodes_per_trial": 2}  # of 0 to 3 ticks


def remembering_in_one_process():
    """Transitions, with the task that each was made in."""
    actor = load_actor(bundle.read(RECURRENT), explore=True, seed=np.random.default_rng(5))
    tasks = replace(PRESETS[TASKS["tasks"]](), hazard=TASKS["hazard"], episodes_per_trial=TASKS["episodes_per_trial"])
    ant, found = TaskAnt(3, tasks, seed=11), []
    env = TimeStepEnv(ant)
    with closing(drive(env, actor, env.reset())) as moves:
        for tick in range(TICKS):
            if tick == GIVEN:
                ant.set_task(0, find_task("leg 3 lost"))
                ant.set_task(1, find_task(BALLS))
            acting = ant.task_vectors
            found.append(replace(next(moves).transition(), task=acting))
    env.close()
    return found


def remembering_over_dds(folder):
    """The same of ticks and tasks as they are sent, joined as a trainer does; and a recording of it."""
    with System(folder) as system:
        ticks, told = Ticks(system), system.listen(RobotTasks, "task")
        node = recorder(system, folder / "bag")
        env = system.env(num_envs=3, seed=11, steps=TICKS, listeners=1, **TASKS)
        assert system.call(SetBool, "env/pause", SetBool.Request(data=True)).success
        system.policy(policy=str(RECURRENT), explore=True, seed=5)
        assert system.call(Step, "env/step", Step.Request(steps=GIVEN)).step_id == GIVEN
        ticks.until(GIVEN)
        answer = system.call(SetTask, "env/set_task", SetTask.Request(task="leg 3 lost", row=0))
        assert (answer.message, answer.step_id) == (f"leg 3 lost of robot 0 from tick {GIVEN} on", GIVEN)
        assert system.call(SetTask, "env/set_task", SetTask.Request(task=BALLS, row=1)).success
        assert system.call(SetBool, "env/pause", SetBool.Request(data=False)).success
        ticks.until(TICKS)
        system.until(lambda: told and told[-1].number == ticks.seen[-1].tasks_told, "the newest tasks")
        assert env.wait() == 0 and node.stop() == 0
        collector, found = Collector(["env"]), []
        for tasks in map(decode_tasks, told):
            collector.tell("env", tasks)
        for tick in ticks.seen:
            assert collector.knows("env", tick)
            collector.add("env", tick, None)
        while (batch := collector.next_batch()) is not None:
            found.append(batch)
        return found


def test_a_recurrent_actor_in_tasks_that_change_is_the_same_too_and_can_be_played_back(tmp_path):
    expected, found = remembering_in_one_process(), remembering_over_dds(tmp_path)
    for tick, (one, other) in enumerate(zip(expected, found, strict=True)):
        for name in (*ARRAYS, "trial_first", "task"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), f"{name} of tick {tick}")
        for name in ("action", "reward", "done"):
            np.testing.assert_array_equal(getattr(one.previous, name), getattr(other.previous, name), name)
        np.testing.assert_array_equal(one.extras["log_prob"], other.extras["log_prob"])
    done = np.array([one.terminated | one.truncated for one in expected[:-1]])
    first, task = np.array([one.trial_first for one in expected[1:]]), np.array([one.task for one in expected])
    changed = (task[1:] != task[:-1]).any(axis=2)
    assert first.any() and (done & ~first).any(), "there must be ends of trials, and of episodes within one"
    assert (changed & ~done).sum() > 3, "tasks must change within episodes"
    assert seen.ball_of(task)[0][GIVEN:, 1].any(), "there must be a ball on its way"

    code, said, _ = replay(tmp_path / "bag", "env")
    assert code == 0 and f"{TICKS + 1} ticks" in said and said.endswith("passed: bit-equal\n"), said

    def another_vector(name, message):
        if name == "task" and message.step_id == GIVEN:
            message.vector[0] += 1

    code, said, summary = replay(edited(tmp_path / "bag", tmp_path / "other", another_vector), "env", tmp_path=tmp_path)
    assert code == 1 and "FAILED at step 60 of session" in said and ": task[0] of robot 0 was" in said

    with Recording(tmp_path / "bag") as recording:
        run = read(recording, "run")
    assert ("run", "leg 3 lost", "given") in [row[:3] for row in tables.task_changes([run]).rows]
    by_task = tables.returns_by_task([run]).rows
    assert sum(int(row[2]) for row in by_task) == len(run.episodes) > 2
    page = command.make([run])
    assert "Tasks of the first robot" in page and "leg 3 lost" in page
