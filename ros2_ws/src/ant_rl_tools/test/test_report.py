"""Reports: what is read of a bag that is known to the last number, and what is drawn of arrays."""

import array
from html import escape

import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from ant_rl_interfaces.msg import EpisodeSummary, JointTorques, NodeStats, NodeTiming, Observation, PolicyUpdate
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message

from ant_rl_core.spec import ACTUATOR_NAMES
from ant_rl_core.telemetry import Episode
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report import command, figures, tables
from ant_rl_tools.report.charts import histogram, log_edges
from ant_rl_tools.report.decimation import decimate
from ant_rl_tools.report.reading import read
from ant_rl_tools.report.run_data import Answers, Run, Ticks, Windows
from recorder_node.bag import BagWriter
from recorder_node.codec import type_name
from recorder_node.definitions import read_definition
from recorder_node.storage import BagError, Message, Topic

START = 1_700_000_000_000_000_000
TICK = 50_000_000  # [ns]
ROBOTS = 2


def stamped(message, nanoseconds):
    message.header.stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return message


def observation(session, step_id, at, version=7, episode_step=None, reward=1.0, unshaped=None, first=False,
                torque=None):
    message = stamped(Observation(session=session, step_id=step_id, num_envs=ROBOTS), at)
    values = np.zeros((ROBOTS, 105), np.float32)
    values[0, 0], values[0, 5:13], values[0, 13] = 0.5, step_id + np.arange(8), 0.25 * step_id
    message.observation = array.array("f", values.tobytes())
    message.episode_id = message.trial_id = array.array("q", [0] * ROBOTS)
    message.episode_step = array.array("I", [step_id if episode_step is None else episode_step] * ROBOTS)
    if first:
        return message
    message.policy_version = version
    torques = [0.125 * step_id + column if torque is None else torque for column in range(8)] + [9.0] * 8
    message.action = array.array("f", torques)
    message.reward = array.array("f", [reward, 99.0])
    if unshaped is not None:
        message.unshaped_reward = array.array("f", [unshaped, 99.0])
    message.terminated = message.truncated = array.array("B", [0] * ROBOTS)
    return message


def bag(path, messages):
    """A bag with (topic, time [ns since the start], message)."""
    writer, ids = BagWriter(path, "mcap", "kilted"), {}
    for count, (topic, at, message) in enumerate(sorted(messages, key=lambda entry: entry[1])):
        if topic not in ids:
            definition = read_definition(type_name(type(message)), get_package_share_directory)
            ids[topic] = writer.add_topic(Topic(topic, definition))
        writer.write([Message(ids[topic], START + at, START + at, count, serialize_message(message))])
    writer.close()
    return path


def story(late=0):
    """Two sessions of a realtime run with a missed deadline, a repetition, a gap, a swap of policies and two hosts.

    All answers are `late` ns later.
    """
    ticks = [(1, 10, {"first": True}), (1, 11, {"reward": 50.0, "unshaped": 2.0}),
             (1, 12, {"version": 0, "reward": 3.0, "torque": 0.0}),
             (1, 14, {"version": 8, "reward": 4.0, "episode_step": 0}), (1, 15, {"version": 8, "reward": 5.0}),
             (2, 0, {"first": True}), (2, 1, {"version": 0, "reward": 6.0})]
    for i, (session, step_id, what) in enumerate(ticks):
        message = observation(session, step_id, START + i * TICK, **what)
        yield "/robot/observation", i * TICK + 1_000_000, message
        if step_id == 12:  # sent again, as it was
            yield "/robot/observation", i * TICK + 9_000_000, message
        if step_id in (10, 15, 1):
            answer = stamped(JointTorques(session=session, step_id=step_id, inference_time=1e-4 * (i + 1)),
                             START + i * TICK + (i + 1) * 1_000_000 + late)
            yield "/robot/joint_torques", i * TICK + 2_000_000, answer
            yield "/robot/joint_torques", i * TICK + 20_000_000, answer  # sent again
    yield "/robot/joint_torques", 3_000_000, JointTorques(session=9, step_id=10)  # of another run
    for second, misses in ((1, 1), (2, 4)):
        timing = stamped(NodeTiming(node="/robot/env", host="desk", loop_rate=20.0), START + second * 10**9)
        timing.stage_names, timing.stage_p50, timing.stage_p99, timing.stage_max = (
            ["round_trip"], [0.002 * second], [0.004 * second], [0.01])
        timing.counter_names, timing.counter_values = ["torque_gaps"], [misses]
        timing.value_names, timing.value_values = ["ticks"], [20.0 * second]
        yield "/robot/timing", second * 10**9, timing
        for node, host, temperature in (("policy", "pi", 55.5), ("monitor", "pi", 55.5), ("monitor", "desk", np.nan)):
            yield f"/robot/stats/{node}", second * 10**9 + 5, NodeStats(
                node=f"/robot/{node}", host=host, alive=True, cpu_percent=10.0 * second, rss_mib=90.0 + second,
                temperature=temperature)
    yield "/robot/stats/policy", 3 * 10**9, NodeStats(node="/robot/policy", host="pi", alive=False)
    yield "/robot/timing", 2 * 10**9, NodeTiming(node="/robot/policy", host="pi")
    yield "/robot/policy", 120_000_000, PolicyUpdate(version=8, bundle=b"zip")
    yield "/robot/episode", 150_000_000, EpisodeSummary(
        session=1, episode_return=9.0, length=3, duration=0.15, distance=0.3, reward_forward=7.0, reward_survive=3.0,
        reward_ctrl=-0.75, reward_contact=-0.25, terminated=True, policy_version=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with Recording(bag(tmp_path_factory.mktemp("bags") / "story", story())) as recording:
        return read(recording, "story")


def long_story(set_by=0, simulated=False, seconds=30):
    """Real time; in the middle the clock is set by so much [ns], or stamps are of simulated time."""
    for step_id in range(20 * seconds):
        at = step_id * TICK
        by = set_by if step_id >= 10 * seconds else 0
        stamp = at if simulated else START + at + by
        yield "/observation", at + by, observation(1, step_id, stamp, first=not step_id)
        answer = stamped(JointTorques(session=1, step_id=step_id, inference_time=1e-3), stamp + 2_000_000)
        yield "/joint_torques", at + by + 2_500_000, answer
        if step_id % 20 == 19:
            timing = stamped(NodeTiming(node="/env", host="desk", pid=7, loop_rate=20.0), stamp)
            timing.value_names, timing.value_values = ["ticks"], [step_id + 1.0]
            yield "/timing", at + by + 1000, timing


def as_written(path, messages):
    """A bag whose messages lie in the order in which they are given."""
    writer, ids = BagWriter(path, "mcap", "kilted"), {}
    for count, (topic, at, message) in enumerate(messages):
        if topic not in ids:
            ids[topic] = writer.add_topic(Topic(topic, read_definition(type_name(type(message)),
                                                                       get_package_share_directory)))
        writer.write([Message(ids[topic], START + at, START + at, count, serialize_message(message))])
    writer.close()
    with Recording(path) as recording:
        return read(recording, path.name), recording.notes()


HOUR = 3_600_000_000_000


@pytest.mark.parametrize("set_by", [-HOUR, HOUR])
def test_a_clock_that_is_set_changes_no_figure(tmp_path, set_by):
    run, notes = as_written(tmp_path / "set", long_story(set_by))
    undisturbed, no_notes = as_written(tmp_path / "plain", long_story())
    assert not no_notes and len(notes) == 1 and f"set {'back' if set_by < 0 else 'forward'} by 3600 s" in notes[0]
    assert run.tick_rate == undisturbed.tick_rate == pytest.approx(20.0)
    assert run.seconds == pytest.approx(undisturbed.seconds, abs=0.2)
    np.testing.assert_array_equal(run.ticks.step_id, np.arange(600))
    np.testing.assert_allclose(run.ticks.time, undisturbed.ticks.time, atol=0.2)
    assert (np.diff(run.ticks.time) >= 0).all()
    np.testing.assert_allclose(run.answers.delay, 0.002, atol=1e-6)


def test_of_simulated_stamps_no_duration_is_made(tmp_path):
    run, _ = as_written(tmp_path / "simulated", long_story(simulated=True))
    assert run.tick_rate == pytest.approx(20.0) and len(run.answers.delay) == 0 and len(run.ticks.time) == 600


def test_every_tick_of_a_bag_is_read_once(run):
    ticks = run.ticks
    assert ticks.step_id.tolist() == [10, 11, 12, 14, 15, 0, 1] and ticks.session.tolist() == [1] * 5 + [2] * 2
    np.testing.assert_allclose(ticks.time, 0.05 * np.arange(7), atol=1e-6)
    np.testing.assert_allclose(ticks.simulated, [0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.35])
    assert ticks.policy_version.tolist() == [0, 7, 0, 8, 8, 0, 0]
    assert ticks.missed.tolist() == [False, False, True, False, False, False, False] and ticks.unrecorded == 1
    np.testing.assert_array_equal(ticks.reward, [np.nan, 2, 3, 4, 5, np.nan, 6])  # the unshaped one where there is one
    np.testing.assert_array_equal(ticks.running_return, [0, 2, 5, 9, 5, 5, 6])
    np.testing.assert_array_equal(ticks.torque[:, 0], [np.nan, 1.375, 0.0, 1.75, 1.875, np.nan, 0.125])
    np.testing.assert_array_equal(ticks.joint_angle[1], 11 + np.arange(8))
    assert ticks.speed[1] == 2.75 and ticks.height[1] == 0.5 and run.num_envs == ROBOTS


def test_what_the_nodes_told_is_read(run):
    np.testing.assert_allclose(run.answers.delay, [0.001, 0.005, 0.007])
    np.testing.assert_allclose(run.answers.inference, [1e-4, 5e-4, 7e-4])
    np.testing.assert_allclose(run.answers.time, [0.0, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(run.round_trips.p99, [0.004, 0.008])
    assert run.latencies_ms["round_trip"]["p50"] == pytest.approx(2.0) and run.tick_rate == pytest.approx(20.0)
    assert list(run.resources) == ["policy", "monitor (pi)", "monitor (desk)"]
    assert run.resources["policy"].cpu_percent.tolist() == [10.0, 20.0]  # what is gone has none
    assert run.resources["monitor (pi)"].temperature.tolist() == [55.5, 55.5]
    assert run.counters["torque_gaps"][1].tolist() == [1, 4] and run.published == ((pytest.approx(0.119), 8),)
    ((when, episode),) = run.episodes
    assert when == pytest.approx(0.149) and sum(episode.reward_parts.values()) == episode.episode_return == 9.0


def charts_of(*runs):
    return {chart.key: chart for section in figures.charts(runs).values() for chart in section}


def traces(chart):
    """(name, x, y) of what is drawn."""
    return [(trace.name, np.asarray(trace.x), np.asarray(trace.y)) for trace in chart.figure.data]


def test_charts_show_what_was_read(run):
    charts = charts_of(run)
    drawn = {name: (x, y) for name, x, y in traces(charts["versions"])}
    assert drawn["in use"][1].tolist() == [7, 8, 8] and drawn["sent by the trainer"][1].tolist() == [8]
    torque = traces(charts["torque"])[0]
    np.testing.assert_array_equal(torque[2], run.ticks.torque[:, ACTUATOR_NAMES.index("hip_1")])
    assert [title.text for title in charts["torque"].figure.layout.annotations][0].startswith("hip_1")
    assert {name: y.tolist() for name, _, y in traces(charts["misses"])} == {
        "deadline misses": [0, 0, 1, 1, 1, 1, 1], "torque_gaps": [1, 4]}
    assert [name for name, _, _ in traces(charts["temperature"])] == ["policy", "monitor (pi)"]
    assert {name: y.tolist() for name, _, y in traces(charts["reward_parts"])}["ctrl"] == [-0.75]
    assert "two hosts" in charts["latency_histogram"].sentence
    colors = {key: {trace.name: trace.line.color for trace in charts[key].figure.data} for key in ("cpu", "memory")}
    assert colors["cpu"] == colors["memory"] and len(set(colors["cpu"].values())) > 1


def test_what_is_not_there_is_said_and_not_drawn():
    nothing = np.empty(0)
    begin = Ticks(*(np.zeros(1) for _ in range(3)), np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.ones(1, bool),
                  np.zeros(1), np.full((1, 8), np.nan), np.zeros((1, 8)), np.full(1, np.nan), np.zeros(1), np.zeros(1))
    empty = Run("empty", START, 0.0, 1, begin, Answers(*[nothing] * 3), Windows(*[nothing] * 4), {}, {})
    for runs in ((empty,), (empty, empty)):
        missing = {key: chart.absent for key, chart in charts_of(*runs).items() if chart.figure is None}
        assert set(missing) == {"returns", "reward_parts", "versions", "latency_histogram", "latency_timeline",
                                "round_trips", "cpu", "memory", "temperature", "torque"}
        page = command.make(runs)
        assert all(sentence and escape(sentence) in page for sentence in missing.values())
    assert tables.line(empty) == "empty: 0 episodes; round trip p50 – ms, p99 – ms; 0 deadline misses in 0 ticks"


def test_a_bag_with_nothing_but_observations_is_read(tmp_path):
    path = bag(tmp_path / "bag", [entry for entry in story() if entry[0].endswith("observation")])
    with Recording(path) as recording:
        found = read(recording, "bag")
    assert found.ticks.step_id.tolist() == [10, 11, 12, 14, 15, 0, 1] and not found.resources and not found.episodes


def test_a_comparison_tells_ratios_to_the_first(run, tmp_path):
    slower = [entry for entry in story(late=5_000_000) if not entry[0].endswith("episode")]
    with Recording(bag(tmp_path / "slower", slower)) as recording:
        other = read(recording, "slower")
    rows = {row[0]: row[1:] for row in tables.key_figures([run, other]).rows}
    assert rows["return, mean ± standard deviation"] == ("9.0 ± 0.0", "–")
    assert rows["deadline misses"] == ("1", "1 (×1.00)") and rows["ticks"] == ("5", "5")
    assert rows["observation to torques p50 [ms]"] == ("5.000", "10.000 (×2.00)")
    assert rows["policy node, RSS, largest [MiB]"] == ("92.0", "92.0 (×1.00)")
    for key, chart in charts_of(run, other).items():
        if key not in ("returns", "reward_parts"):  # one of the two has no episode
            assert {"story", "slower"} <= {trace.name for trace in chart.figure.data} or key == "versions", key
    assert tables.versions([run, other]).rows[:3] == [
        ("story", "7", "0.05", "1", "0", "–"), ("story", "8", "0.15", "2", "1", "9"),
        ("slower", "7", "0.05", "1", "0", "–")]


def test_fewer_points_keep_every_spike():
    rng = np.random.default_rng(0)
    y = rng.normal(size=100_003)
    y[[7, 50_000, 99_999]], y[60_000:60_400] = (40.0, -50.0, 60.0), np.nan
    x = np.arange(len(y), dtype=float)
    kept_x, kept_y = decimate(x, y, 1000, whole=100)
    assert len(kept_x) <= 1100 + 2 and np.array_equal(kept_x[:100], x[:100])
    assert (np.diff(kept_x) > 0).all() and np.array_equal(kept_y, y[kept_x.astype(int)], equal_nan=True)
    for spike in (7, 50_000, 99_999):
        assert spike in kept_x
    size = -(-(len(y) - 100) // 500)
    for start in range(100, len(y), size):  # of each stretch the highest and the lowest
        stretch, inside = y[start:start + size], (kept_x >= start) & (kept_x < start + size)
        if np.isfinite(stretch).any():
            assert (np.nanmin(kept_y[inside]), np.nanmax(kept_y[inside])) == (np.nanmin(stretch), np.nanmax(stretch))
    assert np.isnan(kept_y).any()
    for kept in decimate(x[:1000], y[:1000], 1000):
        assert len(kept) == 1000


def test_a_histogram_holds_every_value():
    values = [np.array([0.02, 0.5, 0.5, 3.0]), np.array([1000.0, np.nan, 0.0, -1.0])]
    edges = log_edges(values)
    assert edges[0] <= 0.02 and edges[-1] > 1000.0
    share = histogram(values[0], edges)
    assert share.sum() == pytest.approx(100.0) and share.max() == pytest.approx(50.0)


def test_a_long_run_makes_a_page_that_opens_fast():
    n = 100_000
    rng = np.random.default_rng(1)
    one = np.arange(n, dtype=np.float64)
    version = (1 + one // 100).astype(np.uint64)
    ticks = Ticks(0.05 * one, 0.05 * one, np.ones(n, np.uint64), one.astype(np.uint64), version, one == 0,
                  (one % 1000).astype(np.uint32), *(rng.normal(size=(n, 8)).astype(np.float32) for _ in range(2)),
                  *(rng.normal(size=n).astype(np.float32) for _ in range(3)))
    episodes = tuple((50.0 * i, Episode(0, 0, i, 1, 1.0, 20, 1.0, 1.0, True, False, i // 5, {
        "forward": 1.0, "survive": 1.0, "ctrl": -0.5, "contact": -0.5})) for i in range(5000))
    long = Run("long", START, 5000.0, 1, ticks, Answers(0.05 * one, *rng.lognormal(-8, 1, (2, n))),
               Windows(*rng.random((4, 5000))), {}, {}, episodes)
    for runs in ((long,), (long, long, long)):
        page = command.make(runs)
        assert len(page.encode()) < 10e6
    assert "970 rows in between are left out" in command.make([long])


def test_names_are_text(run, tmp_path):
    name = "<b>&</script>"
    with Recording(bag(tmp_path / "bag", story())) as recording:
        odd = read(recording, name)
    page = command.make([odd, run])
    assert name not in page
    for key in ("name", "text"):  # as figures have it in JSON
        assert f'"{key}":"&lt;b&gt;' in page and f'"{key}":"\\u003cb' not in page
    assert "&lt;b&gt;&amp;&lt;/script&gt; and story" in page


def test_a_damaged_bag_and_one_of_another_robot_are_refused_in_a_sentence(tmp_path):
    other = Observation(session=1, num_envs=1, observation=array.array("f", [0.0] * 17),
                        episode_id=array.array("q", [0]), episode_step=array.array("I", [0]))
    with Recording(bag(tmp_path / "other", [("/observation", 0, other)])) as recording:
        with pytest.raises(BagError, match="must be of an Ant-v5"):
            read(recording, "other")


def test_bags_of_one_name_are_told_apart():
    assert command._titles(["runs/a/", "b"]) == ["a", "b"]
    assert command._titles(["x/bag", "y/bag"]) == ["x/bag", "y/bag"]
