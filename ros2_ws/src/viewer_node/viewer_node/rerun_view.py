"""The robot and its figures in Rerun: live in its viewer, or in a file that the viewer opens."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import rerun as rr
import rerun.blueprint as rrb
import rerun_cli

from viewer_node.even_times import EvenTimes
from viewer_node.mirror import Mirror
from viewer_node.paint import BALL_COLOR, BALL_RADIUS

_TIMELINE = "time"
_METERS_PER_NEWTON = 2e-3  # how long the arrows of contact forces are
_RED, _GRAY = (220, 40, 40), (90, 90, 90)
_TASK_HEIGHT = 1.1  # [m] above the ground
# A window keeps this much; the oldest goes first.
_MEMORY_LIMIT = "1GB"
_BATCH = 5  # [frames] that are handed over at once: a quarter of a second
_HOST = "127.0.0.1"
_PATIENCE = 5.0  # [s]
_PLACE = "world/place"  # of the robot, on the ground
_FLOOR, _CONTACTS, _BALL, _TASK = "world/floor", "world/contacts", "world/ball", f"{_PLACE}/task"
_EYE = (2.5, -4.0, 2.0)  # from there [m]
_SQUARE, _SQUARES = 2.0, 20  # of the floor [m], and how many of them to each side
# What is drawn over time: path of the series, and its title.
PLOTS = (("contact", "foot contacts [N]"), ("torque", "torques [N·m]"), ("return", "return"),
          ("latency", "latency [ms]"), ("cpu", "CPU [% of a core]"), ("memory", "memory [MiB]"))


@dataclass(frozen=True)
class _Frame:
    """The robot at one moment: poses [bodies, 3 and 4 (x, y, z, w)], contacts and forces [contacts, 3], figures."""

    time: float
    positions: np.ndarray
    orientations: np.ndarray
    contacts: np.ndarray
    forces: np.ndarray
    on_feet: list[float]
    torques: np.ndarray


class RerunView:
    """Sends what it is told to Rerun.

    Args:
        mirror: the robot, brought up to date before each `robot`.
        path: file (.rrd) to write; empty: the viewer opens.
        plots: paths of the series that are drawn beside the robot, with their titles.

    Attributes:
        mirror: the robot.
        bodies: paths of the bodies, by their ids.

    Raises:
        OSError: the file can't be written, or the viewer not started.
    """

    def __init__(self, mirror: Mirror, path: str = "", plots: Sequence[tuple[str, str]] = PLOTS) -> None:
        self.mirror = mirror
        model = mirror.model
        names = [model.body(body).name for body in range(model.nbody)]
        # Parts without a name go by the joint that moves them.
        names = [name or f"{model.joint(int(model.body_jntadr[body])).name}_link" for body, name in enumerate(names)]
        self.bodies = {body: f"world/{name}" for body, name in enumerate(names) if body}
        self._frames: list[_Frame] = []
        self._shapes: dict[int, tuple[str, Any]] = {}  # path and kind of each geometry's shape, by its id
        self._task, self._is_painted, self._has_ball = "", False, False
        self._times = EvenTimes()
        self._stream = rr.RecordingStream("ant_rl")
        layout = _blueprint(plots)
        self._window: subprocess.Popen[bytes] | None = None
        if path:
            try:
                self._stream.save(path)
            except RuntimeError as error:
                raise OSError(f"Rerun can't write {path}: {' '.join(str(error).split())}") from error
        else:
            self._window, address = _open_window()
            self._stream.connect_grpc(address)
        # Otherwise the viewer goes on with the layout that it had the last time.
        self._stream.send_blueprint(layout)
        self._stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for body, entity in self.bodies.items():
            self._log_shape(body, entity)
        self._log_floor()
        self._stream.log(_CONTACTS, rr.Arrows3D.from_fields(radii=0.02, colors=_RED), static=True)
        self._name_series("contact", list(mirror.feet))
        self._name_series("torque", [model.joint(joint).name for joint in model.actuator_trnid[:, 0]])

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed the window; a file is always open."""
        return self._window is None or self._window.poll() is None

    def robot(self, time: float) -> None:
        """Show the mirror's state, of the moment `time` [s since 1970]; it may take `_BATCH` until it is seen."""
        data = self.mirror.data
        contacts = self.mirror.contacts()
        on_feet = [sum(float(np.linalg.norm(contact.force)) for contact in contacts if contact.body == foot)
                   for foot in self.mirror.feet.values()]
        even = self._times.even("robot", time)
        if not self._is_painted:
            self._paint(even)
        self._show_ball(even)
        self._frames.append(_Frame(
            even, data.xpos.copy(), data.xquat[:, [1, 2, 3, 0]],
            np.array([contact.position for contact in contacts]).reshape(-1, 3),
            np.array([contact.force for contact in contacts]).reshape(-1, 3), on_feet,
            data.actuator_force * self.mirror.model.actuator_gear[:, 0]))
        if len(self._frames) >= _BATCH:
            self._send_frames()

    def task(self, name: str) -> None:
        """Write the name of its task above the robot and take over the mirror's colors, with the next state."""
        self._task, self._is_painted = name, False

    def figures(self, time: float, values: Mapping[str, float]) -> None:
        """Draw figures over time: {path of the series, such as cpu/env: value}."""
        self._stream.set_time(_TIMELINE, timestamp=self._times.even(next(iter(values), ""), time))
        for path, value in values.items():
            self._stream.log(path, rr.Scalars(value))

    def line(self, time: float, path: str, points: np.ndarray, color: tuple[int, int, int]) -> None:
        """Draw a line in the world from now on, through points [n, 3] [m], in place of the one that had this path."""
        self._stream.set_time(_TIMELINE, timestamp=self._times.even(path, time))
        strips = [points] if len(points) > 1 else []
        self._stream.log(f"world/{path}", rr.LineStrips3D(strips, colors=color, radii=0.015))

    def color(self, path: str, color: tuple[int, int, int]) -> None:
        """Draw the series of `figures` that has this path in a color of its own."""
        self._stream.log(path, rr.SeriesLines(colors=color), static=True)

    def close(self) -> None:
        """Finish the file, or close the window."""
        self._send_frames()
        if self.is_open:
            self._stream.flush(timeout_sec=_PATIENCE)
        self._stream.disconnect()
        if self._window is not None:
            self._window.terminate()
            self._window.wait(_PATIENCE)

    def _send_frames(self) -> None:
        """Hand over the frames that have gathered: in columns, as a call for each figure of each would cost thrice."""
        frames, self._frames = self._frames, []
        if not frames:
            return
        times = [rr.TimeColumn(_TIMELINE, timestamp=[frame.time for frame in frames])]

        def send(path: str, columns: Iterable[Any]) -> None:
            self._stream.send_columns(path, times, columns)

        positions = np.array([frame.positions for frame in frames])
        orientations = np.array([frame.orientations for frame in frames])
        ground = positions[:, self.mirror.base] * (1.0, 1.0, 0.0)
        send(_PLACE, rr.Transform3D.columns(translation=ground))
        send(_FLOOR, rr.Transform3D.columns(translation=_SQUARE * np.round(ground / _SQUARE)))
        for body, entity in self.bodies.items():
            send(entity, rr.Transform3D.columns(translation=positions[:, body], quaternion=orientations[:, body]))
        arrows = rr.Arrows3D.columns(
            origins=np.concatenate([frame.contacts for frame in frames]),
            vectors=_METERS_PER_NEWTON * np.concatenate([frame.forces for frame in frames]))
        send(_CONTACTS, arrows.partition([len(frame.contacts) for frame in frames]))
        for path, values in (("contact", [frame.on_feet for frame in frames]),
                             ("torque", [frame.torques for frame in frames])):
            columns = rr.Scalars.columns(scalars=np.concatenate(values))
            send(path, columns.partition([len(part) for part in values]))

    def _log_shape(self, body: int, entity: str) -> None:
        """Spheres and capsules of a body, once; the robot has no other shapes."""
        model = self.mirror.model
        for geom in np.flatnonzero(model.geom_bodyid == body):
            size, (w, x, y, z) = model.geom_size[geom], model.geom_quat[geom]
            path = f"{entity}/{model.geom(geom).name}"
            if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE:
                shape = rr.Ellipsoids3D(centers=[model.geom_pos[geom]], radii=[size[0]], fill_mode="solid")
                self._stream.log(path, shape, static=True)
                self._shapes[int(geom)] = path, rr.Ellipsoids3D
                continue
            # MuJoCo has a capsule's middle at the origin, Rerun the middle of its first end.
            turn = rr.Quaternion(xyzw=(x, y, z, w))
            self._stream.log(path, rr.Transform3D(translation=model.geom_pos[geom], quaternion=turn), static=True)
            self._stream.log(f"{path}/capsule", rr.Capsules3D(
                lengths=[2 * size[1]], radii=[size[0]], translations=[(0.0, 0.0, -size[1])], fill_mode="solid"),
                static=True)
            self._shapes[int(geom)] = f"{path}/capsule", rr.Capsules3D

    def _show_ball(self, time: float) -> None:
        """The mirror's ball, or that it is gone."""
        ball = self.mirror.ball
        if ball is None and not self._has_ball:
            return
        self._has_ball = ball is not None
        self._stream.set_time(_TIMELINE, timestamp=time)
        self._stream.log(_BALL, rr.Clear(recursive=False) if ball is None else rr.Ellipsoids3D(
            centers=[(*ball, BALL_RADIUS)], radii=[BALL_RADIUS], colors=[BALL_COLOR], fill_mode="solid"))

    def _paint(self, time: float) -> None:
        """The colors of the mirror's model and the task's name, from now on: not static, for a task may change them."""
        self._is_painted = True
        self._stream.set_time(_TIMELINE, timestamp=time)
        if self._task:
            self._stream.log(_TASK, rr.Points3D([(0.0, 0.0, _TASK_HEIGHT)], radii=0.0, labels=[self._task],
                                                show_labels=True))
        for geom, (path, kind) in self._shapes.items():
            self._stream.log(path, kind.from_fields(colors=[self.mirror.model.geom_rgba[geom]]))

    def _log_floor(self) -> None:
        """Lines on the ground, once; they are moved along by whole squares, so that they seem to stay."""
        end = _SQUARE * _SQUARES
        lines = []
        for step in np.linspace(-end, end, 2 * _SQUARES + 1):
            lines += [[(step, -end, 0.0), (step, end, 0.0)], [(-end, step, 0.0), (end, step, 0.0)]]
        self._stream.log(f"{_FLOOR}/lines", rr.LineStrips3D(lines, colors=_GRAY, radii=0.01), static=True)

    def _name_series(self, path: str, names: Sequence[str]) -> None:
        self._stream.log(path, rr.SeriesLines(names=names), static=True)


def _open_window() -> tuple[subprocess.Popen[bytes], str]:
    """Start the viewer; returns its process and the address that it listens at.

    Rerun's own `spawn` would let the whole network send to it, and take over a viewer that shows another robot.
    """
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    program = Path(rerun_cli.__file__).parent / "rerun"
    command = [str(program), "--bind", _HOST, "--port", str(port), "--memory-limit", _MEMORY_LIMIT,
               "--hide-welcome-screen", "--expect-data-soon"]
    # As Rerun's SDK starts it: no questions at the first start. Its log is long and of no use here.
    variables = {**os.environ, "RERUN_APP_ONLY": "true", "RUST_LOG": "error"}
    return subprocess.Popen(command, env=variables), f"rerun+http://{_HOST}:{port}/proxy"


def _blueprint(titles: Sequence[tuple[str, str]]) -> rrb.Blueprint:
    """The robot on the left, seen from an eye that goes along with it, the figures on the right."""
    robot = rrb.Spatial3DView(origin=_PLACE, contents="world/**", name="robot", line_grid=False,
                              eye_controls=rrb.EyeControls3D(
        kind=rrb.Eye3DKind.Orbital, position=_EYE, look_target=(0.0, 0.0, 0.4), eye_up=(0.0, 0.0, 1.0)))
    plots = [rrb.TimeSeriesView(origin=path, name=title) for path, title in titles]
    return rrb.Blueprint(rrb.Horizontal(robot, rrb.Vertical(*plots), column_shares=[3, 2]), collapse_panels=True)
