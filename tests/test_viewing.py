"""What viewers show of real nodes is what the nodes published: Rerun's file, MuJoCo's window, the topic `image`."""

import math
import shutil
import subprocess

import numpy as np
import pytest
from ant_rl_interfaces.msg import EpisodeSummary, NodeStats
from ant_rl_interfaces.srv import SetTask
from drawing import needs_egl
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState
from system import System

from ant_env_node.vec_env import load_model
from ant_rl_core import viewers
from ant_rl_core.settings import ArgumentError
from ant_rl_ros import stamps
from ant_rl_tools.report.imagining import Beside
from trainer.models.data.rows import Stretch
from viewer_node import codec
from viewer_node.mirror import Mirror

NODES = ("env", "policy", "monitor", "viewer")


def nanoseconds(message):
    return stamps.nanoseconds(message.header.stamp)


def viewer_of(system, **parameters):
    """The viewer, which takes its turn with all else: no core may ever be idle while the tests run."""
    return system.start("viewer_node", "viewer_node", "viewer", give_way=False, **parameters)


def shown(system):
    """How many states the viewer has shown."""
    timing = system.timings.get("viewer")
    return 0 if timing is None else dict(zip(timing.value_names, timing.value_values, strict=True))["shown"]


def read_rrd(path):
    """{entity: {component: {time [ns]: value}}} of a file, without what holds always."""
    try:
        from rerun.chunk import RrdReader
    except ImportError:  # before 0.40, for Python 3.10
        from rerun.experimental import RrdReader
    found = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        if chunk.is_static or "time" not in batch.schema.names:
            continue
        times = [stamp.value for stamp in batch.column("time")]
        for name in batch.schema.names:
            if ":" in name:
                values = zip(times, batch.column(name).to_pylist(), strict=True)
                found.setdefault(chunk.entity_path, {}).setdefault(name, {}).update(
                    {stamp: value for stamp, value in values if value is not None})
    return found


def test_a_file_of_rerun_has_the_bodies_where_they_were_and_every_figure(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -r requirements/viewer.txt")
    path = tmp_path / "run.rrd"
    with System(tmp_path) as system:
        viewer = viewer_of(system, viewer="rerun", viewer_path=str(path))
        odometry, joints = system.listen(Odometry, "odom"), system.listen(JointState, "joint_states")
        episodes = system.listen(EpisodeSummary, "episode")
        stats = {node: system.listen(NodeStats, f"stats/{node}") for node in NODES}
        system.start("monitor_node", "monitor_node", "monitor", period=0.3)
        system.env(listeners=2)
        system.policy(policy="default")
        system.until(lambda: episodes and shown(system) >= 60, "an episode that was watched")
        # More than the viewer's second between two looks for new topics, so that it has heard some of each.
        for heard in stats.values():
            heard.clear()
        system.until(lambda: min(map(len, stats.values())) >= 6, "the stats of each node")
        assert system.call(SetTask, "env/set_task", SetTask.Request(task="leg 3 lost")).success
        before = shown(system)
        system.until(lambda: shown(system) > before + 10, "the robot with its other task")
        assert viewer.stop() == 0
    found = read_rrd(path)

    moments = {nanoseconds(message): message for message in odometry}
    pairs = {nanoseconds(message): (moments[nanoseconds(message)], message) for message in joints
             if nanoseconds(message) in moments}
    model = load_model()
    mirror = Mirror(model)
    bodies = {entity: parts for entity, parts in found.items()
              if "Transform3D:translation" in parts and entity not in ("/world/place", "/world/floor")}
    assert len(bodies) == model.nbody - 1
    # Times are kept as float seconds on their way: to a microsecond.
    stamps = sorted(bodies["/world/torso"]["Transform3D:translation"])
    published = np.array(sorted(pairs))
    compared = 0
    for stamp in stamps:
        nearest = int(published[np.abs(published - stamp).argmin()])
        if abs(nearest - stamp) > 1000:
            continue  # one of the two messages did not come here: listeners are best effort
        mirror.show(codec.decode_motion(*pairs[nearest]))
        theirs = np.array([parts["Transform3D:translation"][stamp][0] for parts in bodies.values()])
        apart = np.linalg.norm(theirs[:, None] - mirror.data.xpos[None, 1:], axis=2)
        assert apart.min(axis=0).max() < 1e-4 and apart.min(axis=1).max() < 1e-4  # written as float32
        np.testing.assert_allclose(bodies["/world/torso"]["Transform3D:quaternion"][stamp][0],
                                   mirror.data.xquat[mirror.base][[1, 2, 3, 0]], atol=1e-6)
        np.testing.assert_allclose(found["/torque"]["Scalars:scalars"][stamp], 150.0 * mirror.data.ctrl, atol=1e-6)
        ground = found["/world/place"]["Transform3D:translation"][stamp][0]
        np.testing.assert_allclose(ground, [*mirror.data.xpos[mirror.base, :2], 0.0], atol=1e-4)
        compared += 1
    assert compared >= 20 and compared >= 0.8 * len(stamps)
    traveled = [bodies["/world/torso"]["Transform3D:translation"][stamp][0][0] for stamp in stamps]
    assert max(traveled) - min(traveled) > 5.0
    assert any(vectors for vectors in found["/world/contacts"]["Arrows3D:vectors"].values())
    assert max(map(max, found["/contact"]["Scalars:scalars"].values())) > 10.0
    assert min(map(len, found["/contact"]["Scalars:scalars"].values())) == 4
    assert [["leg 3 lost"]] == [*found["/world/place/task"]["Points3D:labels"].values()]
    colors = {entity: [*parts.values()] for entity, values in found.items() for name, parts in values.items()
              if name.endswith(":colors")}
    assert len(colors) == 13 and all(len(seen) == 2 for seen in colors.values())
    changed = sorted(entity for entity, (was, now) in colors.items() if was != now)
    assert [entity.split("/")[-2] for entity in changed] == ["fourth_ankle_geom", "rightback_leg_geom"]
    series = {f"/{kind}/{node}" for kind in ("cpu", "memory") for node in NODES}
    series |= {f"/latency/{stage}_{part}" for stage in ("round_trip", "inference") for part in ("p50", "p99")}
    for entity in series | {"/return/so_far", "/return/episode"}:
        assert all(math.isfinite(value[0]) for value in found[entity]["Scalars:scalars"].values()), entity
        assert found[entity]["Scalars:scalars"], entity
    assert [[message.episode_return] for message in episodes][0] in found["/return/episode"][
        "Scalars:scalars"].values()


@needs_egl
def test_pictures_are_published_while_somebody_listens(tmp_path):
    with System(tmp_path) as system:
        viewer_of(system, render_hz=10, image_width=320, image_height=240,
                     namespace="/robot1")
        system.env(namespace="/robot1", mode="realtime")
        system.policy(namespace="/robot1", policy="default", mode="realtime")
        odometry = system.listen(Odometry, "robot1/odom")
        pictures = system.listen(Image, "robot1/image", depth=1)
        system.until(lambda: len(pictures) >= 4, "four pictures")
    first, last = pictures[0], pictures[-1]
    for message in (first, last):
        assert (message.width, message.height, message.encoding, message.step, message.is_bigendian) == (
            320, 240, "rgb8", 960, 0)
        assert message.header.frame_id == "robot1/camera" and len(message.data) == 240 * 960
    assert nanoseconds(last) in set(map(nanoseconds, odometry))
    before, after = (np.frombuffer(message.data, np.uint8).reshape(240, 320, 3).astype(int)
                     for message in (first, last))
    assert before.std() > 10 and np.abs(after - before).mean() > 1
    red, _, blue = after[110:130, 150:170].reshape(-1, 3).mean(axis=0)
    assert red > blue + 20  # the robot is orange and in the middle


def test_a_machine_without_egl_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/dev/null")
    with System(tmp_path) as system:
        viewer = viewer_of(system, render_hz=5)
        assert viewer.wait() == 2
        assert "pictures need EGL, which draws without a display, and found none that works" in viewer.said()
        assert "Traceback" not in viewer.said()


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="no Xvfb to open a window on: apt install xvfb")
def test_mujocos_viewer_shows_the_robot_move(tmp_path, monkeypatch):
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-fbdir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
            screen = tmp_path / "Xvfb_screen0"
            with System(tmp_path) as system:
                viewer = viewer_of(system, viewer="mujoco")
                system.env(mode="realtime")
                system.policy(policy="default", mode="realtime")
                system.until(lambda: shown(system), "states that are shown")
                seen = set()

                def changes():
                    pixels = screen.read_bytes()[-640 * 480 * 4:]
                    if np.frombuffer(pixels, np.uint8).std() > 10:
                        seen.add(pixels)
                    return len(seen) >= 3

                system.until(changes, "three different pictures on the screen")
                assert viewer.stop() == 0
        finally:
            server.terminate()


def test_a_display_that_can_not_be_opened_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":2345")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with System(tmp_path) as system:
        viewer = viewer_of(system, viewer="mujoco")
        assert viewer.wait() == 2
        assert "no window can be opened: see that DISPLAY" in viewer.said()


@pytest.mark.parametrize("viewer, path, words", [
    ("rerun", "", ["viewer:=rerun opens a window and needs a display", "viewer_path:=run.rrd"]),
    ("mujoco", "", ["viewer:=mujoco opens a window and needs a display", "render_hz:=10"]),
    ("mujoco", "run.rrd", ["viewer_path needs viewer:=rerun", "found viewer:=mujoco"]),
])
def test_a_machine_without_a_display_is_told_so(viewer, path, words):
    with pytest.raises(ArgumentError) as raised:
        viewers.check(viewer, path, {})
    assert all(word in str(raised.value) for word in words)


def test_a_missing_rerun_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(viewers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="needs the package rerun-sdk, found none: .*requirements/viewer.txt"):
        viewers.check("rerun", "run.rrd", {})
    viewers.check("none", "", {})


def test_a_file_of_rerun_has_what_was_imagined_beside_what_came(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -r requirements/viewer.txt")
    from ant_rl_tools.report import rerun_file
    steps, rng, beside = 3, np.random.default_rng(0), []
    for tick, length in ((0, 8), (8, 2)):  # the second one is too short to imagine
        observation = np.zeros((length + 1, 105), np.float32)
        observation[:, 0], observation[:, 1] = rng.uniform(0.5, 0.6, length + 1), 1.0
        count = max(0, length + 1 - steps)
        action = rng.uniform(-1, 1, (length, 8)).astype(np.float32)
        stretch = Stretch(observation, action, np.zeros(length), np.zeros((length, 2)), tick=tick)
        beside.append(Beside(stretch, rng.normal(size=(length + 1, 3)), rng.normal(size=(count, steps + 1, 3)),
                             *rng.normal(size=(2, count))))
    beside[0].path[3, 2:] = np.nan  # an imagined end
    rerun_file.write(str(tmp_path / "a.rrd"), beside, 0.05 * np.arange(10), steps)
    found = read_rrd(tmp_path / "a.rrd")

    def at(tick):
        return round(5e7 * tick)
    lines = {name: found[f"/world/{name}"]["LineStrips3D:strips"] for name in ("came", "imagined")}
    assert list(lines["came"]) == list(lines["imagined"]) == [at(tick) for tick in (0, 3, 6, 8)]
    np.testing.assert_allclose(lines["imagined"][0], [beside[0].path[0]], atol=1e-6)
    np.testing.assert_allclose(lines["imagined"][at(3)], [beside[0].path[3, :2]], atol=1e-6)
    np.testing.assert_allclose(lines["came"][at(3)], [beside[0].place[3:7]], atol=1e-6)
    assert lines["imagined"][at(6)] == lines["imagined"][at(8)] == []
    np.testing.assert_allclose(lines["came"][at(8)], [beside[1].place], atol=1e-6)
    series = {name: {stamp: value[0] for stamp, value in found[f"/{name}"]["Scalars:scalars"].items()}
              for name in ("height/came", "height/imagined", "reward/came", "reward/imagined")}
    places = np.concatenate([each.place[:-1, 2] for each in beside])
    assert series["height/came"] == pytest.approx({at(tick): places[tick] for tick in range(10)})
    for name, values in (("height/imagined", beside[0].path[:, -1, 2]), ("reward/came", beside[0].came),
                         ("reward/imagined", beside[0].reward)):
        expected = {at(tick): values[tick - steps] for tick in range(steps, 8) if np.isfinite(values[tick - steps])}
        assert series[name] == pytest.approx(expected)
    torso = found["/world/torso"]["Transform3D:translation"]
    assert len(torso) == 10 and torso[at(9)][0][:2] == pytest.approx(beside[1].place[1, :2])
    torques = found["/torque"]["Scalars:scalars"][at(5)]
    np.testing.assert_allclose(torques, 150.0 * beside[0].stretch.action[4], rtol=1e-5)
