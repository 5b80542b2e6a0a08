"""Guided RL²: guides against the simulation, the estimator as graph and over sequences, the learner in its loop."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ant_env_node.make import ants, make
from ant_env_node.tasks import symmetry
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import Task
from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, TimeStepEnv
from policy_node.actor import load_actor
from trainer import loop
from trainer.algorithms.meta.guided import directions, turning
from trainer.algorithms.meta.guided.choice import guide_for
from trainer.algorithms.meta.guided.contract import Tick
from trainer.algorithms.meta.guided.frozen import frozen_policy
from trainer.algorithms.meta.guided.heading import Heading
from trainer.algorithms.meta.guided.motors import Legs, Motors
from trainer.algorithms.meta.guided_rl2 import GuidedRL2, GuidedRL2Config
from trainer.runs.train_config import choose

ROWS = 6
SMALL = GuidedRL2Config(total_steps=ROWS * 40, teacher="ppo", round_length=10, gradient_steps=3, minibatch_rows=2,
                        hidden=(8, 8), memory_size=6, actor_hidden=(8,))


def make_learner(tasks="wired", seed=0, **changes):
    return GuidedRL2(replace(SMALL, **changes), ROWS, ANT.observation_size, ANT.action_size, seed,
                     tasks=PRESETS[tasks]())


def run(learner, ticks, env=None, start=None, tasks="wired"):
    env = env or make(ROWS, 3, 1, tasks=PRESETS[tasks](), max_episode_steps=15, looks_ahead=tasks == "latency")
    end = learner.env_steps + ticks * ROWS
    return env, loop.run(env, learner, learner, start or env.reset(), lambda _: learner.env_steps >= end,
                         lambda metrics: False)


# -- guides and experts ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("tasks", "guide"), [("wired", Motors()), ("swapped", Legs())])
def test_what_a_guide_sends_makes_a_rewired_ant_do_what_the_stock_one_does(tasks, guide):
    distribution = PRESETS[tasks]()
    rng = np.random.default_rng(0)
    with TaskAnt(8, distribution, "held_out", seed=2) as rewired, VectorAnt(8, 2) as stock:
        rewired.reset()
        stock.reset()
        assert all(task != Task(task.name) for task in rewired.tasks)
        for _ in range(40):  # some fall, and get another task
            wanted = rng.uniform(-1, 1, (8, 8)).astype(np.float32)
            labels = guide.labels(np.array([task.vector() for task in rewired.tasks]))
            sent = np.array(guide.command(wanted, guide.certain(labels)))
            assert np.array_equal(rewired.step(sent)[0], stock.step(wanted)[0])


@pytest.mark.parametrize("guide", [Motors(), Legs()])
def test_sums_of_true_products_tell_the_task(guide):
    """Where the gates are the torques that the motors gave, the readout of the sums is right from the first ticks."""
    rng = np.random.default_rng(1)
    tasks = PRESETS["wired" if isinstance(guide, Motors) else "swapped"]().train[:64]
    gear, wiring = (np.array([getattr(task, name) for task in tasks]) for name in ("gear", "wiring"))
    sums = np.zeros((64, guide.products), np.float32)
    for _ in range(12):
        sent = rng.uniform(-1, 1, (64, 8)).astype(np.float32)
        torque = gear.astype(np.float32) * np.take_along_axis(sent, wiring, axis=1)
        sums += np.array(guide.evidence(torque, Tick(None, sent, None)))
    logits = sums @ guide.readout()
    labels = guide.labels(np.array([task.vector() for task in tasks]))
    likely = np.array(guide.belief(20 * logits)) - np.array(guide.certain(labels))
    assert np.abs(likely).mean() < 0.05


@pytest.mark.parametrize("guide", [Motors(), Legs()])
def test_the_loss_is_that_of_scipy_and_least_at_the_truth(guide):
    tasks = PRESETS["wired" if isinstance(guide, Motors) else "swapped"]().train[:5]
    labels = guide.labels(np.array([task.vector() for task in tasks]))
    chance = np.log(2) if isinstance(guide, Motors) else np.log(8)
    np.testing.assert_allclose(guide.loss(tf.zeros(labels.shape), tf.constant(labels)), chance, rtol=1e-6)
    sure = 30.0 * (2 * labels - 1)
    np.testing.assert_allclose(guide.loss(tf.constant(sure), tf.constant(labels)), 0.0, atol=1e-6)


def test_other_tasks_have_no_guide():
    for name, field in (("strength", "gear"), ("velocities", "speed")):
        with pytest.raises(ArgumentError, match="told of headings, of delays, of a leg that is lost, and of motors "
                                                f"whose signs or cables differ, found {name}, in which {field} differ"):
            guide_for(PRESETS[name]())
    with pytest.raises(ArgumentError, match="can't be followed where that is a ball, .* found obstacle: learn by anot"):
        guide_for(PRESETS["obstacle"](), told=True)


def test_the_direction_solves_the_normal_equations_of_a_real_run():
    tasks, rng = PRESETS["directions"](), np.random.default_rng(0)
    with ants(6, 3, 1, tasks, "held_out") as ant:
        observation, info = ant.reset()
        told, sums = info["task"], 0.0
        for _ in range(25):
            action = rng.uniform(-1, 1, (6, 8)).astype(np.float32)
            observation, reward, terminated, _, info = ant.step(action)
            assert not terminated.any()
            # The velocity of a step is the mean over it, and the observation's that at its end.
            seen = np.array(observation[:, :27], np.float32)
            seen[:, 13], seen[:, 14] = info["x_velocity"], info["y_velocity"]
            tick = Tick(seen, action, reward[:, None].astype(np.float32))
            sums = sums + np.array(Heading().evidence(np.full((6, 5), 50.0, np.float32), tick))
    solved = [np.linalg.solve([[xx, xy], [xy, yy]], [bx, by]) for bx, by, xx, xy, yy in sums]
    cosine = (np.array(solved) * Heading().labels(told)).sum(axis=1) / np.linalg.norm(solved, axis=1)
    assert cosine.min() > 0.98  # contacts, which cost a little, are left out


@pytest.mark.parametrize("quarters", range(4))
def test_turning_and_renaming_are_those_of_the_symmetry(quarters):
    rng = np.random.default_rng(quarters)
    observation = rng.normal(0, 1, (30, 105)).astype(np.float32)
    observation[:, 1:5] /= np.linalg.norm(observation[:, 1:5], axis=1, keepdims=True)
    found = np.array(turning.relabeled(observation, quarters))
    found[:, 1:5] *= np.where(found[:, 1:2] < 0, -1, 1)
    np.testing.assert_allclose(found, symmetry.relabel(observation, quarters), atol=1e-6)
    action = observation[:, :8]
    assert np.array_equal(turning.relabeled_action(action, quarters), symmetry.relabel_action(action, quarters))
    angle = rng.uniform(-np.pi, np.pi, 30)
    towards = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    np.testing.assert_allclose(turning.turned_back(observation, towards), symmetry.turn_world(observation, -angle),
                               atol=2e-6)


def test_a_course_changes_by_quarters_at_once_and_by_little_else():
    """The torso as the policy sees it never jumps, whatever comes to be believed."""
    rng, angle = np.random.default_rng(0), np.linspace(-3.1, 3.1, 40)
    ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    course, quarters, lies = np.zeros((40, 2), np.float32), np.zeros((40, 4), np.float32), np.zeros(40)
    for t in range(120):
        if t % 40 == 0:
            wanted = rng.uniform(-np.pi, np.pi, 40)
            belief = np.stack([np.cos(wanted), np.sin(wanted)], axis=1).astype(np.float32)
        course, quarters = map(np.array, directions._turned_towards(ahead, course, quarters, belief))
        assert np.array_equal(quarters.sum(axis=1), np.ones(40)) and np.allclose(np.linalg.norm(course, axis=1), 1)
        seen = angle - np.arctan2(course[:, 1], course[:, 0]) + quarters.argmax(axis=1) * np.pi / 2
        assert np.abs(np.angle(np.exp(1j * (seen - lies)))).max() < 1.05 * np.arctan(directions._TURN) + 1e-3
        lies = seen
        if t % 40 == 39:
            assert (course * belief).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_what_is_seen_ahead_is_what_is_seen_when_the_action_arrives(delay):
    tasks = TaskDistribution("late", "", (Task("late", delay=delay, gear=(1, 1, -1, 1, 0, 1, 1, 1)),))
    rng = np.random.default_rng(0)
    with ants(2, 4, 1, tasks, looks_ahead=True) as ant:
        observed, foreseen = [], []
        for t in range(12):
            if t:
                observation, *_, info = ant.step(rng.uniform(-1, 1, (2, 8)).astype(np.float32))
            else:
                observation, info = ant.reset()
            observed.append(observation)
            foreseen.append(info["observation_ahead"])
    for t in range(12 - delay):
        np.testing.assert_array_equal(foreseen[t], observed[t + delay])


# -- networks ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("variant", ["float32", "distil_128x128"])
def test_a_frozen_policy_acts_as_its_bundle(variant):
    teacher = policy_bundle.read(resolve_policy("default"))
    observation = np.random.default_rng(0).normal(0, 1.5, (20, 105)).astype(np.float32)
    found = frozen_policy(teacher, variant)(observation).numpy()
    actor = load_actor(teacher, variant=variant)
    expected, _, _ = actor.act(observation, Previous.none(20, 8), (), np.zeros(20, bool))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def a_rollout(rng, ticks, rows=3):
    first = rng.random((ticks, rows)) < 0.2
    first[0] = True
    observation = rng.normal(0, 1, (ticks, rows, 105)).astype(np.float32)
    observation[..., 1:5] /= np.linalg.norm(observation[..., 1:5], axis=-1, keepdims=True)
    return (observation, rng.uniform(-1, 1, (ticks, rows, 8)).astype(np.float32), first)


@pytest.mark.parametrize(("student", "tasks"), [("estimator", "wired"), ("estimator", "latency"),
                                                ("estimator", "directions"), ("actor", "wired")])
def test_the_policy_that_is_handed_over_does_what_the_learner_does(student, tasks, eager):
    learner = make_learner(tasks, student=student, noise=0.0, teacher_share=0.0)
    run(learner, 12, tasks=tasks)  # its weights are no longer those of the start
    if tasks == "directions":  # the direction of an estimate near 0 is any
        learner._student._answer.bias.assign([1.0, 0.5])
    actor = load_actor(policy_bundle.unpack(learner.policy()))
    assert actor.manifest.memory == "trial" and actor.manifest.algorithm == "guided_rl2" and actor.memory_key
    rng = np.random.default_rng(0)
    state, own = actor.initial_state(3), learner.initial_state(3)
    for observation, action, first in zip(*a_rollout(rng, 40), strict=True):
        previous = Previous(action, rng.normal(0, 1, 3).astype(np.float32), rng.random(3) < 0.1)
        found, _, state = actor.act(observation, previous, state, first)
        expected, _, own = learner.act(observation, previous, own, first)
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("student", ["estimator", "actor"])
def test_a_sequence_is_learned_from_as_it_was_acted(student):
    """The loss over a whole round is that of the steps one by one, with beginnings of trials in the middle."""
    learner = make_learner(student=student, noise=0.0, teacher_share=0.0)
    taught = learner._student
    rng = np.random.default_rng(1)
    observation, action, first = a_rollout(rng, 15)
    labels = taught.expert._guide.labels(np.array([t.vector() for t in PRESETS["wired"]().train[:3]]))
    state, losses, lessons = taught.initial_state(3), [], []
    for t in range(15):
        state = tuple(np.where(first[t][:, None], np.float32(0), each) for each in state)
        previous = Previous(action[t], np.zeros(3, np.float32), np.zeros(3, bool)).forgotten(first[t])
        lesson = {"first": first[t], "previous_action": previous.action, "action": previous.action,
                  **dict.fromkeys(("reward", "previous_reward", "previous_done"), np.zeros((3, 1), np.float32)),
                  "observation": observation[t], "seen": observation[t][:, :27], "task": labels,
                  "label": np.zeros((3, 8), np.float32)}
        lessons.append(lesson)
        if student == "estimator":
            outputs, state = taught._step((lesson["seen"], previous.action, lesson["reward"]), state)
            logits = outputs[:, :labels.shape[1]]
            losses.append(taught._guide.loss(logits, labels).numpy().mean())
        else:
            found, state = taught.act(observation[t], previous, state)
            losses.append(np.square(found).mean())
    whole = {name: tf.constant(np.stack([lesson[name] for lesson in lessons])) for name in lessons[0]}
    found = taught.loss(whole, tuple(map(tf.constant, taught.initial_state(3))))
    np.testing.assert_allclose(found, np.mean(losses), rtol=2e-6)


# -- the learner -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("student", "tasks"), [("estimator", "swapped"), ("actor", "latency")])
def test_a_checkpoint_goes_on_bit_for_bit(student, tasks, eager):
    learner = make_learner(tasks, student=student)
    env, step = run(learner, 13, tasks=tasks)  # within a round
    saved, physics = {name: np.array(array) for name, array in learner.save().items()}, env.save()
    run(learner, 10, env, step, tasks)
    other = make_learner(tasks, seed=9, student=student)
    other.restore(saved)
    env = make(ROWS, 3, 1, tasks=PRESETS[tasks](), max_episode_steps=15, looks_ahead=tasks == "latency")
    # The state of memory is the driver's; a run that is resumed begins with new ones, so both are begun anew here.
    _, _ = env.reset(), run(other, 10, env, env.restore(physics), tasks)
    assert other.env_steps == learner.env_steps == 23 * ROWS and other.version == learner.version
    differ = [name for name, array in learner.save().items() if not np.array_equal(array, other.save()[name])]
    assert not differ


def test_wrongly_wired_motors_are_found_out():
    """A hundredth of a real training: already better than chance on patterns that it never saw."""
    config = GuidedRL2Config(total_steps=2400, teacher="ppo", round_length=40, gradient_steps=60, hidden=(32, 32),
                             memory_size=16, minibatch_rows=12)
    learner = GuidedRL2(config, 12, ANT.observation_size, ANT.action_size, 0, tasks=PRESETS["wired"]())
    losses = []
    env = make(12, 3, 1, tasks=PRESETS["wired"](), max_episode_steps=40)
    loop.run(env, learner, learner, env.reset(), lambda _: learner.env_steps >= 2400,
             lambda metrics: losses.append(metrics["loss"]))
    assert losses[-1] < 0.6 * np.log(2)
    env = TimeStepEnv(ants(16, 50, 1, PRESETS["wired"](), "held_out"))
    actor, right = load_actor(policy_bundle.unpack(learner.policy())), []
    step, state, previous = env.reset(), actor.initial_state(16), Previous.none(16, 8)
    for _ in range(20):
        action, extras, state = actor.act(step.observation, previous, state, step.trial_first)
        signs = np.array([task.gear for task in env.env.tasks])
        right.append((np.sign(extras["belief"]) == signs).mean())
        step = env.step(action)
        previous = Previous(action, step.reward, step.done)
    assert np.mean(right[10:]) > 0.6


def test_an_actor_is_not_taught_to_ignore_the_direction():
    with pytest.raises(ArgumentError, match="an actor can't be taught directions yet, .*: take student:=estimator"):
        make_learner("directions", student="actor")


def test_it_must_have_tasks():
    with pytest.raises(ArgumentError, match="guided_rl2 learns from tasks: give it some, such as tasks:=wired"):
        choose("guided_rl2", {})
    chosen = choose("guided_rl2", {"tasks": "wired"})
    assert chosen.train.max_episode_steps == 100 and chosen.train.num_envs == 64
    assert choose("ppo", {}).train.max_episode_steps == 1000
