"""One task: a part that says what is rewarded, and one that says how body and world differ from Gymnasium's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ant_rl_core.spec import ACTUATOR_NAMES

NUM_ACTUATORS = len(ACTUATOR_NAMES)
# What a random reward weighs, per step: velocity along x and y in the world [m/s], yaw rate [rad/s], height [m].
FEATURES = ("x_velocity", "y_velocity", "yaw_rate", "height")
MAX_DELAY = 10  # [ticks]
HIGHEST_BUMP = 0.3  # [m]; a torso more than 1 m above zero ends the episode
SCALE = 10.0  # [m] and [m/s] that places and velocities of a vector are told in
_ONES = (1.0,) * NUM_ACTUATORS
_STRAIGHT = tuple(range(NUM_ACTUATORS))


def bounded(default: Any, meaning: str, low: float, high: float, unit: str = "") -> Any:
    """A field of `Task` whose numbers lie from `low` to `high`."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high, "unit": unit})


@dataclass(frozen=True)
class Task:
    """What one row of the environment is to do, and with what; every number of the body is a multiple of the stock one.

    The reward is Ant-v5's with its forward part replaced where one of heading, goal, speed or weights is given; two of
    them at once are refused. Heading: velocity along that direction. Goal: minus the distance to it, where a radius is
    given 1 per step within that radius and 0 outside. Speed: minus the distance of the forward velocity from it.
    Weights: their product with FEATURES.

    With a hit radius one ball after the other rolls at the robot, see `moving.ball`; a hit ends the episode as a fall
    does, and what is rewarded stays.

    Raises:
        ValueError: a number out of its bounds, a wiring that is no permutation, two rewards at once, or a ball that
            begins within its hit radius.
    """

    name: str = field(default="nominal", metadata={"meaning": "what it is called; unique in its distribution"})
    heading: float | None = bounded(None, "direction to go in, from x towards y", -math.pi, math.pi, "rad")
    goal: tuple[float, float] | None = bounded(None, "place to go to, x and y in the world", -100, 100, "m")
    goal_radius: float = bounded(0.0, "the goal is reached within it; 0: the reward is dense", 0, 100, "m")
    speed: float | None = bounded(None, "forward velocity to hold", -10, 10, "m/s")
    weights: tuple[float, ...] = bounded((), f"of the reward for {', '.join(FEATURES)}", -10, 10)
    gear: tuple[float, ...] = bounded(_ONES, f"strength of each motor ({', '.join(ACTUATOR_NAMES)}); 0: dead, "
                                             "-1: wired the wrong way round", -2, 2)
    wiring: tuple[int, ...] = bounded(_STRAIGHT, "which of the action's numbers drives each motor", 0,
                                      NUM_ACTUATORS - 1)
    friction: float = bounded(1.0, "friction of ground and body", 0.05, 5)
    armature: float = bounded(1.0, "inertia of the motors", 0.1, 10)
    damping: float = bounded(1.0, "damping of the joints", 0.1, 10)
    mass: float = bounded(1.0, "mass of the torso, and its inertia", 0.1, 10)
    tilt: tuple[float, float] = bounded((0.0, 0.0), "slope of the ground along x and along y", -0.6, 0.6, "rad")
    terrain: float = bounded(0.0, "height of the bumps of the ground, flat at the start; viewers draw it flat", 0,
                             HIGHEST_BUMP, "m")
    terrain_seed: int = bounded(0, "which ground of that height", 0, 2**31)
    delay: int = bounded(0, "ticks from an action to its torque", 0, MAX_DELAY, "ticks")
    hit_radius: float = bounded(0.0, "a ball whose center comes so near to the torso's, in the plane, ends the "
                                     "episode; 0: no ball rolls", 0, 5, "m")
    ball_speed: tuple[float, float] = bounded((3.0, 6.0), "lowest and highest speed at which a ball comes nearer", 0.1,
                                              30, "m/s")
    ball_distance: float = bounded(6.0, "from which a ball comes", 0.1, 100, "m")
    ball_spread: float = bounded(0.3, "by which a ball passes at most, if the robot goes on as it does", 0, 10, "m")
    ball_seed: int = bounded(0, "which balls, one after the other", 0, 2**31)

    def __post_init__(self) -> None:
        for each in fields(self):
            if "low" in each.metadata:
                _check(each.name, getattr(self, each.name), each.metadata["low"], each.metadata["high"])
        for name, length in (("gear", NUM_ACTUATORS), ("wiring", NUM_ACTUATORS), ("tilt", 2), ("goal", 2),
                             ("ball_speed", 2)):
            if getattr(self, name) is not None and len(getattr(self, name)) != length:
                raise ValueError(f"{name} of a task must have {length} numbers, found {len(getattr(self, name))}")
        if sorted(self.wiring) != list(_STRAIGHT):
            raise ValueError(f"wiring of a task must name each of 0 to {NUM_ACTUATORS - 1} once, found {self.wiring}")
        if self.weights and len(self.weights) != len(FEATURES):
            raise ValueError(f"weights of a task must be {len(FEATURES)} numbers ({', '.join(FEATURES)}), found "
                             f"{len(self.weights)}")
        given = [name for name in ("heading", "goal", "speed", "weights") if getattr(self, name) not in (None, ())]
        if len(given) > 1:
            raise ValueError(f"a task must have one reward, found {' and '.join(given)}")
        if self.ball_speed[0] > self.ball_speed[1]:
            raise ValueError(f"ball_speed of a task must be the lowest and the highest, found {self.ball_speed}")
        if self.ball_distance <= self.hit_radius:
            raise ValueError(f"ball_distance of a task must be above its hit_radius, {self.hit_radius:g}, found "
                             f"{self.ball_distance:g}")

    @property
    def has_stock_body(self) -> bool:
        """Whether body and world are Gymnasium's, to the bit."""
        return all(getattr(self, each.name) == each.default for each in fields(self)
                   if each.name in ("gear", "friction", "armature", "damping", "mass", "tilt", "terrain"))

    @property
    def has_stock_inertia(self) -> bool:
        """Whether masses and inertias are Gymnasium's, and so what MuJoCo derives of them."""
        return self.mass == 1 and self.armature == 1

    @property
    def replaces_reward(self) -> bool:
        """Whether something stands in for the forward velocity in the reward."""
        return self.heading is not None or self.goal is not None or self.speed is not None or bool(self.weights)

    @property
    def moves(self) -> bool:
        """Whether numbers of its vector change as the robot goes."""
        return self.goal is not None or self.hit_radius > 0

    def vector(self) -> np.ndarray:
        """The task as float32 [VECTOR_SIZE], for critics and oracles that are told it; 0 for what is as in Ant-v5.

        It is that of a robot at the world's origin with no ball on its way; `TaskAnt` tells what moves (MOVING) as it
        is now. Of the ground it tells nothing: that would be as many numbers as the ground has points. Nor does it of
        balls to come.
        """
        return np.concatenate([np.asarray(part, np.float32) for part in self._parts().values()])

    @classmethod
    def places(cls) -> dict[str, slice]:
        """Where each field's numbers are in the vector."""
        sizes = {name: len(part) for name, part in cls()._parts().items()}
        ends = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}

    def _parts(self) -> dict[str, Sequence[float]]:
        """The numbers of the vector by field."""
        return {
            "heading": (0.0, 0.0) if self.heading is None else (math.cos(self.heading), math.sin(self.heading)),
            "goal": (0.0, 0.0, 0.0) if self.goal is None else (1.0, self.goal[0] / 10, self.goal[1] / 10),
            "speed": (0.0, 0.0) if self.speed is None else (1.0, self.speed),
            "weights": self.weights or (0.0,) * len(FEATURES),
            "gear": [value - 1 for value in self.gear],
            "wiring": [(source - place) / NUM_ACTUATORS for place, source in enumerate(self.wiring)],
            **{name: (math.log(getattr(self, name)),) for name in ("friction", "armature", "damping", "mass")},
            "tilt": self.tilt, "delay": (self.delay,),
            "goal_radius": (self.goal_radius if self.goal else 0.0,),
            # From here on seen from the torso: the goal, and of a ball whether one is on its way, how near it must not
            # come [m], where it is, and its velocity in the world.
            "goal_offset": (0.0, 0.0) if self.goal is None else (self.goal[0] / SCALE, self.goal[1] / SCALE),
            "ball": (0.0, 0.0), "ball_offset": (0.0, 0.0), "ball_velocity": (0.0, 0.0)}

    def as_dict(self) -> dict[str, Any]:
        """What differs from the nominal task, and the name, as JSON has it."""
        return {each.name: value for each in fields(self)
                if (value := getattr(self, each.name)) != each.default or each.name == "name"}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Task:
        """What `as_dict` gave; ValueError where it is of no task."""
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(told) - known):
            raise ValueError(f"a task must have {', '.join(sorted(known))}, found {', '.join(unknown)}")
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                  for name, value in told.items()}
        for each in fields(cls):
            if each.name in values:
                _check_kind(each.name, str(each.type), values[each.name])
        return cls(**values)


def _check_kind(name: str, kind: str, value: Any) -> None:
    """ValueError where a value as JSON has it is none of a field's type, as its annotation says it."""
    if value is None and "None" in kind or kind == "str" and isinstance(value, str) and value:
        return
    whole, several = "int" in kind, "tuple" in kind
    numbers = value if several and isinstance(value, tuple) else (value,)
    types = int if whole else (int, float)
    if several != isinstance(value, tuple) or kind == "str" or any(
            isinstance(number, bool) or not isinstance(number, types) for number in numbers):
        number = f"{'whole ' * whole}number"
        wanted = "a text" if kind == "str" else f"{number}s" if several else f"a {number}"
        raise ValueError(f"{name} of a task must be {wanted}, found {json.dumps(value)}")


def _check(name: str, value: Any, low: float, high: float) -> None:
    numbers = value if isinstance(value, Sequence) else () if value is None else (value,)
    if not all(low <= number <= high for number in numbers):  # NaN is not, either
        raise ValueError(f"{name} of a task must be from {low:g} to {high:g}, found {value}")


VECTOR_SIZE = len(Task().vector())
# bool [VECTOR_SIZE]: which of a vector's numbers change while the task stays.
MOVING = np.arange(VECTOR_SIZE) >= Task.places()["goal_offset"].start


def fields_of(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """What vectors [n, VECTOR_SIZE] of tasks say: heading (as x and y), gear and wiring [n, 8], and delay [n]."""
    places = Task.places()
    sources = np.rint(vectors[:, places["wiring"]] * NUM_ACTUATORS).astype(np.int64) + np.arange(NUM_ACTUATORS)
    return {"heading": vectors[:, places["heading"]], "gear": vectors[:, places["gear"]] + 1, "wiring": sources,
            "delay": np.rint(vectors[:, places["delay"]][:, 0]).astype(np.int64)}
