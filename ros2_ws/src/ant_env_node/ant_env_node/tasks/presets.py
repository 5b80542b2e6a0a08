"""The distributions that are called by name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.names import NAMES
from ant_env_node.tasks.task import NUM_ACTUATORS, Task, fields_of
from ant_rl_core.spec import ACTUATOR_NAMES

NUM_LEGS = 4
HIT_RADIUS = 0.75  # [m]; the torso's own is 0.25, feet stand 0.9 from its center
_QUARTER = math.pi / 2


def leg_actuators(leg: int) -> tuple[int, ...]:
    """Where the hip and the ankle of a leg stand in the action; legs count from 0 as in ant.xml, at 45°, 135°, …."""
    return tuple(i for i, name in enumerate(ACTUATOR_NAMES) if name.endswith(f"_{leg + 1}"))


def lost_leg(task: np.ndarray) -> np.ndarray:
    """The leg whose motors are dead, the first of several, -1 where none is, int64 [n], of tasks as vectors [n, …]."""
    gear = fields_of(task)["gear"]
    dead = np.stack([(gear[:, leg_actuators(leg)] == 0).all(axis=1) for leg in range(NUM_LEGS)], axis=1)
    return np.where(dead.any(axis=1), dead.argmax(axis=1), -1)


def _directions(count: int) -> TaskDistribution:
    tasks = [Task(f"{math.degrees(angle):g}°", heading=math.remainder(angle, 2 * math.pi))
             for angle in 2 * math.pi / count * np.arange(count)]
    words = {2: "forward or back", 4: "forward, left, back or right"}[count]
    return TaskDistribution(f"directions{count}", f"rewarded for going {words}", tuple(tasks))


def _any_direction() -> TaskDistribution:
    """Whole degrees; every tenth, beginning with 5, is held out."""
    tasks = {degree: Task(f"{degree}°", heading=math.radians(degree)) for degree in range(-179, 181)}
    return _split("directions", "rewarded for going in a direction, any whole degree", tasks.values(),
                  lambda i: i % 10 == 4)


def _goals() -> TaskDistribution:
    """Places 5 m away, every five degrees; every sixth is held out."""
    angles = np.radians(np.arange(0, 360, 5))
    tasks = [Task(f"goal {math.degrees(a):g}°", goal=(5 * math.cos(a), 5 * math.sin(a))) for a in angles]
    return _split("goals", "rewarded for being near a place 5 m away", tasks, lambda i: i % 6 == 5)


def _velocities() -> TaskDistribution:
    tasks = [Task(f"{speed:.1f} m/s", speed=float(speed)) for speed in np.round(np.arange(0, 5.05, 0.1), 1)]
    return _split("velocities", "rewarded for holding a forward velocity of 0 to 5 m/s", tasks, lambda i: i % 5 == 3)


def _wired() -> TaskDistribution:
    tasks = [Task(f"wired {''.join('+' if sign > 0 else '-' for sign in signs)}", gear=signs)
             for signs in itertools.product((1.0, -1.0), repeat=NUM_ACTUATORS)]
    return _hold_out("wired", "any of the eight motors may be wired the wrong way round", tasks, 64)


def _swapped() -> TaskDistribution:
    """Leg orders times signs of whole legs' hips and ankles: 24 x 16 of the many."""
    tasks = []
    for order in itertools.permutations(range(NUM_LEGS)):
        wiring = [0] * NUM_ACTUATORS
        for leg, source in enumerate(order):
            for place, origin in zip(leg_actuators(leg), leg_actuators(source), strict=True):
                wiring[place] = origin
        for pattern in itertools.product((1.0, -1.0), repeat=NUM_LEGS):
            gear = [1.0] * NUM_ACTUATORS
            for leg, sign in enumerate(pattern):
                for place in leg_actuators(leg):
                    gear[place] = sign
            name = f"legs {''.join(map(str, order))} {''.join('+' if sign > 0 else '-' for sign in pattern)}"
            tasks.append(Task(name, gear=tuple(gear), wiring=tuple(wiring)))
    return _hold_out("swapped", "the cables of the legs may be swapped, and a leg wired the wrong way round", tasks,
                     96)


def without_leg(leg: int) -> Task:
    """The stock Ant with the motors of one leg dead."""
    gear = [1.0] * NUM_ACTUATORS
    for place in leg_actuators(leg):
        gear[place] = 0.0
    return Task(f"leg {leg} lost", gear=tuple(gear))


def _lost_leg() -> TaskDistribution:
    return TaskDistribution("lost_leg", "the motors of one leg may be dead", (Task(), *map(without_leg, range(3))),
                            (without_leg(3),))


def _strength() -> TaskDistribution:
    """256 sets of a strength per leg, drawn once from a fixed seed."""
    rng = np.random.default_rng(1)
    tasks = []
    for i in range(256):
        gear = [1.0] * NUM_ACTUATORS
        for leg, strength in enumerate(np.round(rng.uniform(0.5, 1.5, NUM_LEGS), 3)):
            for place in leg_actuators(leg):
                gear[place] = float(strength)
        tasks.append(Task(f"strength {i}", gear=tuple(gear)))
    return _hold_out("strength", "each leg has half to one and a half times its strength", tasks, 64)


def _latency() -> TaskDistribution:
    return TaskDistribution("latency", "an action takes 0 to 3 ticks to become torque",
                            tuple(Task(f"latency {delay}", delay=delay) for delay in range(4)))


def _terrain() -> TaskDistribution:
    """256 grounds; their heights were drawn once from a fixed seed."""
    heights = np.round(np.random.default_rng(3).uniform(0.05, 0.2, 256), 3).tolist()
    return _hold_out("terrain", "the ground has bumps of 5 to 20 cm",
                     [Task(f"terrain {i}", terrain=height, terrain_seed=i) for i, height in enumerate(heights)], 64)


def _obstacle() -> TaskDistribution:
    """256 rows of balls."""
    return _hold_out("obstacle", "balls roll at the robot, and a hit ends the episode",
                     [Task(f"balls {i}", hit_radius=HIT_RADIUS, ball_seed=i) for i in range(256)], 64)


def _everything() -> TaskDistribution:
    """256 sets of all that a body can be, drawn once from a fixed seed."""
    rng = np.random.default_rng(2)
    tasks = []
    for i in range(256):
        body: dict[str, Any] = {
            name: round(float(np.exp(rng.uniform(-math.log(top), math.log(top)))), 3)
            for name, top in (("friction", 1.5), ("armature", 1.5), ("damping", 2.0), ("mass", 2.0))}
        gear = np.round(rng.uniform(0.6, 1.4, NUM_ACTUATORS), 3)
        if rng.random() < 0.25:
            gear[list(leg_actuators(int(rng.integers(NUM_LEGS))))] = 0.0
        along_x, along_y = np.round(rng.uniform(-0.1, 0.1, 2), 3).tolist()
        tasks.append(Task(f"everything {i}", gear=tuple(gear.tolist()), tilt=(along_x, along_y),
                          delay=int(rng.integers(3)), **body))
    return _hold_out("everything", "strength, a lost leg, friction, mass, slope and latency at once", tasks, 64)


def _split(name: str, meaning: str, tasks: Iterable[Task], is_held_out: Callable[[int], bool]) -> TaskDistribution:
    parts: tuple[list[Task], list[Task]] = ([], [])
    for i, task in enumerate(tasks):
        parts[is_held_out(i)].append(task)
    return TaskDistribution(name, meaning, tuple(parts[0]), tuple(parts[1]))


def _hold_out(name: str, meaning: str, tasks: list[Task], count: int) -> TaskDistribution:
    """So many of the tasks are held out, drawn once from a fixed seed; the nominal body stays in training."""
    candidates = [i for i, task in enumerate(tasks) if set(task.as_dict()) != {"name"}]
    chosen = set(np.random.default_rng(0).choice(candidates, count, replace=False).tolist())
    return _split(name, meaning, tasks, chosen.__contains__)


def distribution(name: str) -> TaskDistribution | None:
    """The tasks of this name; None for the stock Ant. KeyError where there are none."""
    return None if name == STOCK else PRESETS[name]()


STOCK = NAMES[0]
PRESETS: Mapping[str, Callable[[], TaskDistribution]] = {
    "directions2": lambda: _directions(2), "directions4": lambda: _directions(4), "directions": _any_direction,
    "goals": _goals, "velocities": _velocities, "wired": _wired, "swapped": _swapped, "lost_leg": _lost_leg,
    "strength": _strength, "latency": _latency, "terrain": _terrain, "everything": _everything,
    "obstacle": _obstacle,
}
