"""Recordings played back: the golden ones do what they did; whatever else was changed is found and named."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
import zstandard
from ant_rl_interfaces.msg import JointTorques, Observation, PolicyUpdate, RobotTasks, Session, TrainingProgress
from ant_rl_interfaces.srv import Reset, SetTask
from make_golden_bags import GOLDEN, RUNS
from programs import command
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import Reader
from system import System
from test_recording import recorder

from ant_rl import cli
from ant_rl_core import bundle
from ant_rl_core.shipped import resolve_policy, shipped_policies
from ant_rl_core.spec import ACTUATOR_NAMES, ANT
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report.reading import read
from policy_node.actor import load_actor
from recorder_node.bag import BagWriter
from recorder_node.definitions import Definition
from recorder_node.repair.bag import repair
from recorder_node.storage import BagError, Message, Topic

TYPES = {"observation": Observation, "joint_torques": JointTorques, "policy": PolicyUpdate, "session": Session,
         "training": TrainingProgress, "task": RobotTasks}


def replay(bag, *words, tmp_path=None):
    """Exit code, what was printed, and the summary; in this process, as most of its time would be imports."""
    summary = [] if tmp_path is None else [f"summary:={tmp_path / 'summary.json'}"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(["replay", str(bag), *words, *summary])
    found = json.loads((tmp_path / "summary.json").read_text()) if summary and code < 2 else None
    return code, said.getvalue(), found


def edited(bag, path, edit, **fields):
    """A copy of a bag in which `edit(topic, message)` has changed messages; where it returns False they are left out.

    `fields` replace fields of the topics' definitions.
    """
    with Reader(bag) as reader:
        writer = BagWriter(path, "mcap", "test")
        ids = {}
        for connection, stamp, data in reader.messages():
            name = connection.topic.lstrip("/")
            if name in TYPES:
                message = deserialize_message(data, TYPES[name])
                if edit(name, message) is False:
                    continue
                data = serialize_message(message)
            if name not in ids:
                known = {"type_name": connection.msgtype, "text": connection.msgdef.data,
                         "type_hash": connection.digest}
                ids[name] = writer.add_topic(Topic(connection.topic, Definition(**{**known, **fields})))
            writer.write([Message(ids[name], stamp, stamp, 0, data)])
        writer.close()
    return path


def with_its_clock_set(bag, path, by, storage="mcap"):
    """A copy of a bag that a recorder wrote whose clock was set by so much [ns], beginning with tick 140."""
    with Reader(bag) as reader:
        writer, ids, set_by = BagWriter(path, storage, "test"), {}, 0
        for connection, stamp, data in reader.messages():
            name = connection.topic.lstrip("/")
            if name == "observation" and deserialize_message(data, Observation).step_id >= 140:
                set_by = by
            if name not in ids:
                definition = Definition(connection.msgtype, connection.msgdef.data, connection.digest)
                ids[name] = writer.add_topic(Topic(connection.topic, definition))
            if name in ("observation", "joint_torques"):  # their stamps too
                (sec,) = struct.unpack_from("<i", data, 4)
                data = data[:4] + struct.pack("<i", sec + set_by // 10**9) + data[8:]
            writer.write([Message(ids[name], stamp + set_by, stamp + set_by, 0, data)])
        writer.close()
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_clock_that_was_set_back_changes_nothing(tmp_path, storage):
    bag = with_its_clock_set(GOLDEN / "default", tmp_path / "bag", -3600 * 10**9, storage)
    code, said, found = replay(bag, "env", tmp_path=tmp_path)
    assert code == 0 and found["ticks"] == 251 and said.endswith("passed: bit-equal\n"), said
    assert re.search(r"the bag \S+: the clock that stamped its messages was set back by 3600 s, \d+\.\d s after", said)
    with Recording(bag) as recording, Recording(GOLDEN / "default") as golden:
        assert [tick.step_id for tick in recording.ticks()] == list(range(251))
        seconds = [1e-9 * (end - start) for start, end in (recording.span, golden.span)]
        assert seconds[0] == pytest.approx(seconds[1], abs=0.2)
        set_back, undisturbed = read(recording, "a"), read(golden, "b")
    assert len(set_back.ticks.time) == 251 and set_back.ticks.unrecorded == 0
    assert set_back.tick_rate == pytest.approx(undisturbed.tick_rate)
    np.testing.assert_allclose(set_back.ticks.time, undisturbed.ticks.time, atol=0.2)
    assert len(undisturbed.answers.delay) - 2 <= len(set_back.answers.delay)
    assert set_back.answers.delay.max() < 1.0 and set_back.answers.delay.min() > 0.0


@pytest.mark.parametrize("name", RUNS)
def test_the_environment_does_what_it_did(name):
    code, said, _ = replay(GOLDEN / name, "env")
    assert code == 0 and "251 ticks" in said and said.endswith("passed: bit-equal\n"), said


def test_golden_bags_hold_falls():
    ends = []
    for name in RUNS:
        with Recording(GOLDEN / name) as recording:
            ends += [bool(tick.time_step.terminated[0]) for tick in recording.ticks()]
    assert len(ends) == 251 * len(RUNS) and sum(ends) >= 3


def distances(name, policy="default", **options):
    """How far torques of an actor in this process are from a golden bag's, float64 [ticks, joints], and the ticks."""
    actor = load_actor(bundle.read(resolve_policy(policy)), **options)
    with Recording(GOLDEN / name) as recording:
        ticks = list(recording.ticks())
        recorded = {message.step_id: np.array(message.torque, np.float64)
                    for _, _, message in recording.messages("joint_torques")}
    torques, state = [], actor.initial_state(1)
    for tick in ticks:
        torque, _, state = actor.act(tick.time_step.observation, tick.previous(ANT.action_size), state, tick.reset_mask)
        torques.append(torque[0])
    return np.abs(np.array(torques, np.float64) - [recorded[tick.step_id] for tick in ticks]), ticks


@pytest.mark.parametrize("name", RUNS)
def test_the_policy_does_what_it_did(name, tmp_path):
    """To the last bit what the actor does here, and up to rounding what it did where the bag was made.

    Processors with other instructions round otherwise.
    """
    run = {key: value for key, value in RUNS[name].items() if key in ("policy", "variant", "explore", "seed")}
    words = [f"{key}:={value}" for key, value in run.items()]
    code, said, found = replay(GOLDEN / name, "policy", *words, "tolerance:=1e-5", tmp_path=tmp_path)
    assert code == 0 and "251 ticks answered by " in said and said.splitlines()[-1].startswith("passed: "), said
    distance, _ = distances(name, **{**run, "explore": "explore" in run, "seed": int(run.get("seed", 0))})
    assert [found["max_difference"][joint] for joint in ACTUATOR_NAMES] == distance.max(axis=0).tolist()
    assert found["unequal_ticks"] == np.count_nonzero(distance.any(axis=1))


def test_every_shipped_variant_has_a_golden_bag_and_all_are_small():
    shipped = {(policy, variant) for policy, path in shipped_policies().items()
               for variant in bundle.read(path).variants(".tflite")}
    assert {(run["policy"], run.get("variant", bundle.FLOAT32)) for run in RUNS.values()} == shipped
    assert max(sum(path.stat().st_size for path in (GOLDEN / name).rglob("*")) for name in RUNS) < 320e3
    assert set(json.loads((GOLDEN / "made.json").read_text())) == set(RUNS)


def test_another_variant_is_measured_and_judged_by_the_tolerance(tmp_path):
    distance, ticks = distances("default", variant="int8")

    code, said, found = replay(GOLDEN / "default", "variant:=int8", tmp_path=tmp_path)
    assert code == 1 and found["passed"] is False and found["ticks"] == len(ticks) == 251
    np.testing.assert_array_equal([found["max_difference"][name] for name in ACTUATOR_NAMES], distance.max(axis=0))
    np.testing.assert_allclose([found["mean_difference"][name] for name in ACTUATOR_NAMES], distance.mean(axis=0),
                               rtol=1e-12)
    first = int(np.flatnonzero(distance.any(axis=1))[0])
    joint = ACTUATOR_NAMES[int(np.flatnonzero(distance[first])[0])]
    assert (found["first_difference"]["step_id"], found["first_difference"]["joint"]) == (first, joint)
    assert f"the first is step {first}: {joint} of robot 0" in said
    largest = float(distance.max())
    for tolerance, expected in [(largest * 1.001, 0), (largest * 0.999, 1)]:
        code, said, found = replay(GOLDEN / "default", "variant:=int8", f"tolerance:={tolerance!r}", tmp_path=tmp_path)
        assert code == expected and found["passed"] == (not expected) and found["bit_equal"] is False
        assert said.splitlines()[-1].startswith("FAILED" if expected else "passed")


def test_a_changed_torque_reward_or_end_is_named(tmp_path):
    def torque(name, message):
        if name == "observation" and message.step_id == 57:
            message.action[3] += np.float32(0.25)

    code, said, found = replay(edited(GOLDEN / "default", tmp_path / "torque", torque), "env", tmp_path=tmp_path)
    assert code == 1 and found["first_difference"]["step_id"] == 57 and "FAILED at step 57 of session" in said
    assert found["first_difference"]["field"] == "final_observation" and found["ticks"] == 58

    def reward(name, message):
        if name == "observation" and message.step_id == 90:
            message.reward[0] += np.float32(0.5)

    code, said, found = replay(edited(GOLDEN / "default", tmp_path / "reward", reward), "env", tmp_path=tmp_path)
    difference = found["first_difference"]
    assert code == 1 and (difference["step_id"], difference["field"], difference["robot"]) == (90, "reward", 0)
    assert difference["difference"] == pytest.approx(0.5, abs=1e-6)
    assert re.search(r"step 90 of session \d+: reward of robot 0 was recorded as .* and is .* now \(differs by 0.5\)",
                     said)

    with Recording(GOLDEN / "ppo") as recording:
        end = next(tick.step_id for tick in recording.ticks() if tick.time_step.done[0])

    def survived(name, message):
        if name == "observation" and message.step_id == end:
            message.terminated[0] = 0

    code, said, found = replay(edited(GOLDEN / "ppo", tmp_path / "end", survived), "env", tmp_path=tmp_path)
    first = found["first_difference"]
    assert code == 1 and (first["step_id"], first["field"]) == (end, "terminated")


def test_sessions_that_were_begun_by_hand_are_run_again(tmp_path):
    path = tmp_path / "bag"
    with System(tmp_path) as system:
        node = recorder(system, path)
        system.env(num_envs=2, seed=3, shaping=True, listeners=1)
        system.policy(policy="ppo")
        observations = system.listen(Observation, "observation")
        for request in (Reset.Request(), Reset.Request(use_seed=True, seed=40), None):
            sessions = len({message.session for message in observations})
            system.until(lambda sessions=sessions: len({message.session for message in observations}) >= sessions
                         and observations and observations[-1].step_id > 50, "50 ticks of a session")
            if request is not None:
                assert system.call(SetTask, "env/set_task", SetTask.Request(task='{"delay": 1}', row=1)).success
                ticks = observations[-1].step_id + 20
                system.until(lambda ticks=ticks: observations[-1].step_id > ticks, "some ticks with another task")
                answer = system.call(Reset, "env/reset", request)
                system.until(lambda session=answer.session: observations[-1].session == session, "the new session")
        for process in system.processes[1:]:
            process.stop()
        assert node.stop() == 0
    code, said, found = replay(path, "env", tmp_path=tmp_path)
    assert code == 0 and found["sessions"] == 3 and found["ticks"] > 150, said


@pytest.mark.parametrize("algorithm, num_envs, config", [
    ("ppo", 2, "rollout_length:=64 total_steps:=512"),
    ("td3", 1, "learning_starts:=100 total_steps:=250 embedding_size:=0")])
def test_a_learner_makes_the_policies_that_it_made_live(tmp_path, algorithm, num_envs, config):
    path = tmp_path / "bag"
    done = command("train", f"algorithm:={algorithm}", f"num_envs:={num_envs}", f"config:={config}", "seed:=5",
                   f"output:={tmp_path / 'run'}", f"record:={path}", "monitor:=false", "status:=false")
    assert done.returncode == 0, done.stdout
    code, said, found = replay(path, "trainer", tmp_path=tmp_path)
    assert code == 0 and found["algorithm"] == algorithm, said
    assert found["updates"] >= (4 if algorithm == "ppo" else 50) and found["policies"] >= 2 and found["figures"] >= 1
    code, said, _ = replay(path, "policy", "explore:=true", "seed:=5")
    assert code == 0 and "policies of the bag" in said, said

    def reward(name, message):
        if name == "observation" and message.step_id == 30:
            message.reward[0] += np.float32(0.5)

    code, said, found = replay(edited(path, tmp_path / "other", reward), "trainer", tmp_path=tmp_path)
    assert code == 1 and found["first_difference"] and "FAILED: " in said.splitlines()[-1], said
    code, said, _ = replay(edited(path, tmp_path / "uneven", one_name_too_many), "trainer")
    assert code == 2 and re.search(r"the metrics of the bag .*, found \d+ names and \d+ values\n$", said), said


def keep(name, message):
    """An edit that changes nothing."""


def without(*topics):
    return lambda name, message: name not in topics


def one_tick_lost(name, message):
    return not (name == "observation" and message.step_id == 100)


def later_beginning(name, message):
    return not (name == "observation" and message.step_id < 10)


def smaller_robot(name, message):
    if name == "observation":
        message.observation = message.observation[:104]


def shaped_by(**constants):
    def edit(name, message):
        if name == "session":
            message.shaping_names, message.shaping_values = list(constants), [*constants.values()]
    return edit


def one_name_too_many(name, message):
    if name == "session":
        message.shaping_names = [*message.shaping_names, "one_more"]
    elif name == "training":
        message.metric_names = [*message.metric_names, "one_more"]


@pytest.mark.parametrize("edit, target, sentence", [
    (without("observation"), "env", r"must hold observation \(ant_rl_interfaces/msg/Observation\), found /clock, "),
    (without("joint_torques"), "policy", "must hold joint_torques, found "),
    (without("session"), "env", "must hold session, found "),
    (keep, "trainer", "must hold policy, found "),
    (one_tick_lost, "env", r"must have every tick, found 101 after 99: .*record:="),
    (later_beginning, "env", r"must hold session \d+ from tick 0, found tick 10 first: record from the start"),
    (smaller_robot, "env", "must be of an Ant-v5: observation must have 105 values .1 x 105., found 104"),
    (one_name_too_many, "env", r"constants of the shaping of the bag .* name and a value, found 1 names and 0 values"),
    (shaped_by(stal_speed=0.1), "env", "the shaping of the bag .* unknown argument 'stal_speed'; .* 'stall_speed'"),
    (shaped_by(stall_speed=float("nan")), "env", "the shaping of the bag .* stall_speed must be .*, found nan"),
    (lambda *_: False, "env", r"must hold observation .*, found /"),
])
def test_a_bag_that_lacks_something_is_refused_with_a_sentence(tmp_path, edit, target, sentence):
    code, said, _ = replay(edited(GOLDEN / "default", tmp_path / "bag", edit), target)
    assert code == 2 and said.count("\n") == 1 and re.search(sentence, said), said


def test_a_bag_of_another_version_of_a_message_is_refused_with_a_sentence(tmp_path):
    other = edited(GOLDEN / "default", tmp_path / "bag", keep, type_hash="RIHS01_" + 64 * "0")
    code, said, _ = replay(other, "env")
    assert code == 2 and said.count("\n") == 1, said
    assert re.search(r"of another version of ant_rl_interfaces/msg/\w+ than this workspace's .RIHS01_00000000…, here "
                     r"RIHS01_\w{8}….: record it anew, or use the version that recorded it", said), said


def test_what_is_no_bag_is_refused_with_a_sentence(tmp_path):
    for name in ("a", "b"):
        shutil.copytree(GOLDEN / "default", tmp_path / "bags" / name)
    (tmp_path / "empty").mkdir()
    BagWriter(tmp_path / "nothing", "mcap", "test").close()
    for path, sentence in [
            (tmp_path / "none", "the bag must be the folder of a recording, found nothing at"),
            (tmp_path / "empty", "the bag must be the folder of a recording with a metadata.yaml, found none in"),
            (tmp_path / "bags", "the bag must be the folder of one recording, and .* holds 2: name one of a, b"),
            (tmp_path / "nothing", "must hold messages, found none")]:
        with pytest.raises(BagError, match=sentence) as refused:
            Recording(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.97, 0.9999])
def test_a_truncated_bag_is_refused_with_a_sentence(tmp_path, share):
    path = tmp_path / "bag"
    shutil.copytree(GOLDEN / "default", path)
    (file,) = path.glob("*.mcap")
    data = file.read_bytes()
    file.write_bytes(data[:int(share * len(data))])
    said = f"the bag {path} can't be (opened|read to its end) .*`./run repair {path}`"
    with pytest.raises(BagError, match=said) as refused:
        with Recording(path) as recording:
            list(recording.ticks())
    assert "\n" not in str(refused.value)


def test_messages_that_are_compressed_without_a_word_are_refused_and_repaired(tmp_path):
    path = tmp_path / "bag"
    with Reader(GOLDEN / "default") as reader:
        writer, ids = BagWriter(path, "sqlite3", "test"), {}
        for connection, stamp, data in reader.messages():
            if connection.topic not in ids:
                definition = Definition(connection.msgtype, connection.msgdef.data, connection.digest)
                ids[connection.topic] = writer.add_topic(Topic(connection.topic, definition))
            writer.write([Message(ids[connection.topic], stamp, stamp, 0, zstandard.compress(data))])
        writer.close()
    code, said, _ = replay(path, "env")
    assert code == 2 and re.fullmatch(rf"ant_rl: the bag {path} is damaged: Session must be whole, found \d+ bytes "
                                      rf"that are not; `./run repair {path}` says whether it can be mended\n", said)
    assert not repair(path).lost
    assert replay(path, "env")[0] == 0


def test_the_robots_of_one_namespace_are_taken(tmp_path):
    path = tmp_path / "bag"
    with Reader(GOLDEN / "default") as reader:
        writer = BagWriter(path, "sqlite3", "test")
        for namespace in ("/a", "/b"):
            ids = {}
            for connection, stamp, data in reader.messages():
                if connection.topic not in ids:
                    definition = Definition(connection.msgtype, connection.msgdef.data, connection.digest)
                    ids[connection.topic] = writer.add_topic(Topic(namespace + connection.topic, definition))
                writer.write([Message(ids[connection.topic], stamp, stamp, 0, data)])
        writer.close()
    with pytest.raises(BagError, match="holds several robots: say which by namespace:= /a or /b"):
        Recording(path)
    with pytest.raises(BagError, match="must hold observation .* in the namespace c, found /a/clock"):
        Recording(path, "c")
    with Recording(path, "b") as recording:
        assert recording.namespace == "/b" and len(list(recording.ticks())) == 251


@pytest.mark.parametrize("command_words", [
    ["replay", str(GOLDEN / "default"), "env"], ["report", str(GOLDEN / "default")],
    ["eval", "default", "episodes:=1"]], ids=lambda words: words[0])
@pytest.mark.parametrize("words", [[], ["--quiet"]])
def test_a_terminal_shows_a_bar_unless_quiet(tmp_path, command_words, words):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # it has no columns otherwise
    done = subprocess.run([sys.executable, "-m", "ant_rl", *command_words, *words], stderr=end,
                          stdout=subprocess.PIPE, timeout=60, cwd=tmp_path)
    os.close(end)
    try:
        shown = os.read(terminal, 10000).decode()
    except OSError:  # what Linux says of a terminal that nobody has written to
        shown = ""
    os.close(terminal)
    assert done.returncode == 0 and ("tick" in shown) == (not words), shown


def test_wrong_words_are_refused_before_anything_starts(tmp_path):
    for words, sentence in [
            ([], "replay needs the folder of a recording"),
            ([str(GOLDEN / "ppo"), "environment"], "replay plays to policy or env or trainer, found environment"),
            ([str(GOLDEN / "ppo"), "env", "policy:=ppo"], "unknown argument 'policy'"),
            ([str(GOLDEN / "ppo"), "tolerance:=-1"], "tolerance must be from 0 to below 2, found -1.0"),
            ([str(GOLDEN / "ppo"), "policy:=none"], "shipped: "),
            ([str(GOLDEN / "ppo"), "policy:=ppo", "variant:=int8"], "the bundle has no variant 'int8'")]:
        done = command("replay", *words)
        assert done.returncode == 2 and sentence in done.stdout and done.stdout.count("\n") == 1, done.stdout
