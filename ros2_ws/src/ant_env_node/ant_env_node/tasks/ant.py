"""Ants of which each has a task of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from ant_env_node.tasks.body import model_of, write
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.moving.ball import Balls
from ant_env_node.tasks.task import MAX_DELAY, NUM_ACTUATORS, VECTOR_SIZE, Task
from ant_env_node.tasks.terrain import model_with_terrain
from ant_env_node.vec_env import Infos, VectorAnt

_STREAM = 0x7A5C  # parts a row's stream of tasks from that of its reset noise
_STOCK = Task()


class TaskAnt(VectorAnt):
    """`VectorAnt` in which row i has a task, drawn anew for each trial; a nominal row is Gymnasium's, bit for bit.

    Infos have `task`, float32 [n, VECTOR_SIZE], in force from the observation beside it on, and, where rows were reset
    by a step, `trial_first`, bool [n]: those for which another trial began, and `final_task`, `task` as it was before
    the reset. After a step they have `hit`, bool [n]: rows that a ball ended. The control cost is that of the action as
    given, not as it arrives at the motors.

    Args:
        num_envs, seed, num_threads, **ant_kwargs: as of `VectorAnt`. A row's tasks come of its seed, whatever the
            number of rows.
        tasks: where they come from; None: rows have the stock task until `set_task` gives them another, which they keep
            from episode to episode until the environment is reset. Each episode is a trial then.
        part: "train" or "held_out".
        looks_ahead: infos have `observation_ahead`, [n, obs], too: what will be observed when the action that is chosen
            now arrives at the motors, for teachers. It costs as much physics as the ticks that the actions take.

    Raises:
        ValueError: as of `VectorAnt`, or the distribution has no tasks in that part.
    """

    def __init__(self, num_envs: int, tasks: TaskDistribution | None, part: str = "train", seed: int | None = None,
                 num_threads: int | None = None, looks_ahead: bool = False, **ant_kwargs: Any) -> None:
        self._looks_ahead = looks_ahead
        self._tasks = [_STOCK] * num_envs
        self.distribution, self.task_part = tasks, part
        if tasks is not None:
            tasks.part(part)
        self._hazard = 0.0 if tasks is None else tasks.hazard
        self._changed = np.zeros(num_envs, bool)
        self._vectors = np.zeros((num_envs, VECTOR_SIZE), np.float32)
        self._sent = np.zeros((num_envs, MAX_DELAY + 1, NUM_ACTUATORS), np.float32)  # the newest action first
        self._wiring = np.tile(np.arange(NUM_ACTUATORS), (num_envs, 1))
        self._delay = np.zeros(num_envs, np.int64)
        self._replaces = np.zeros(num_envs, bool)  # rows in which something stands in for the forward velocity
        self._episodes_left = np.zeros(num_envs, np.int64)
        self._trial_first, self._hit = np.zeros((2, num_envs), bool)
        self._moves = np.zeros(num_envs, bool)  # rows whose vector changes as they go
        super().__init__(num_envs, seed, num_threads, **ant_kwargs)
        self._balls = Balls(num_envs, self.dt)
        self._streams = list(map(_stream, self._seeds))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task of each row now."""
        return tuple(self._tasks)

    @property
    def task_vectors(self) -> np.ndarray:
        """The tasks now as numbers, float32 [n, VECTOR_SIZE], seen from where the robots are."""
        found = self._vectors.copy()
        for row in np.flatnonzero(self._moves).tolist():
            task, place = self._tasks[row], self._place(row)
            if task.goal is not None:
                seen.write_goal(found[row], task.goal - place)
            if (ball := self.ball(row)) is not None:
                seen.write_ball(found[row], task.hit_radius, ball - place, self._balls.velocity(row))
        return found

    @property
    def moving(self) -> bool:
        """Whether numbers of the tasks change from tick to tick."""
        return bool(self._moves.any())

    def ball(self, row: int) -> np.ndarray | None:
        """Where the ball is that rolls at a row's robot, in the world [2] [m]; None where none does."""
        return self._balls.position(row) if self._tasks[row].hit_radius and self._balls.is_rolling(row) else None

    def take_changed(self) -> np.ndarray:
        """bool [n], which rows were given a task since this was asked last, be it the one that they had."""
        changed, self._changed = self._changed, np.zeros(self.num_envs, bool)
        return changed

    def set_task(self, row: int, task: Task) -> None:
        """Give a row another task, between two steps; it is in force until the next one is drawn.

        Another delay begins with no torque.

        Raises:
            ValueError: it has terrain, and none of the distribution has; the row keeps its task.
        """
        worn = self._models[row]
        if worn is not self.model and not task.has_stock_body and (
                task.has_stock_inertia and self._tasks[row].has_stock_inertia):
            write(task, worn, self.model)
        else:
            self._models[row] = self._model(task)
        self._changed[row] = True
        if task.delay != self._tasks[row].delay:
            self._sent[row] = 0
        self._tasks[row] = task
        self._vectors[row], self._moves[row] = task.vector(), task.moves
        self._balls.begin(row, self._place(row), count=0)
        self._wiring[row], self._delay[row], self._replaces[row] = task.wiring, task.delay, task.replaces_reward

    def reset(self, *, seed: int | Sequence[int | None] | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, Infos]:
        """As in the base class; a trial begins in every row that is reset."""
        observation, infos = super().reset(seed=seed, options=options)
        return observation, {**infos, **self.told()}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """As in the base class; with a hazard, rows may have another task afterwards."""
        self._trial_first[:] = False
        observation, reward, terminated, truncated, infos = super().step(actions)
        if self._hazard:
            for i in np.flatnonzero(~(terminated | truncated)).tolist():
                if self._streams[i].random() < self._hazard:
                    self._draw(i)
        infos.update(self.told(), trial_first=self._trial_first.copy(), hit=self._hit)
        return observation, reward, terminated, truncated, infos

    def observation_ahead(self) -> np.ndarray:
        """What each row will observe when an action that is given now arrives at its motors, [n, obs]."""
        ahead, waiting = self._obs.copy(), np.flatnonzero(self._delay).tolist()
        self._workers.run(self._look_ahead, waiting, ahead)
        return ahead

    def save(self) -> dict[str, np.ndarray]:
        """As in the base class."""
        told = json.dumps({"tasks": [task.as_dict() for task in self._tasks],
                           "streams": [stream.bit_generator.state for stream in self._streams]})
        return {**super().save(), "tasks": np.frombuffer(told.encode(), np.uint8), "sent": self._sent.copy(),
                "episodes_left": self._episodes_left.copy(), "balls": self._balls.save()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> np.ndarray:
        """As in the base class.

        Raises:
            ValueError: also where it was saved without tasks, and these are drawn.
        """
        if "tasks" not in saved:
            if self.distribution is not None:
                raise ValueError(f"expected what was saved with tasks, such as {self.distribution.name}, found none")
            self._clear()
            self._sent[:] = 0
            return super().restore(saved)
        told = json.loads(saved["tasks"].tobytes())
        for i, (task, stream) in enumerate(zip(told["tasks"], told["streams"], strict=True)):
            self.set_task(i, Task.from_dict(task))
            self._streams[i].bit_generator.state = stream
        self._sent[:], self._episodes_left[:] = saved["sent"], saved["episodes_left"]
        self._balls.restore(saved["balls"])
        return super().restore(saved)

    def told(self) -> Infos:
        """As in the base class: the tasks, and where it looks ahead what was seen there."""
        told: Infos = {"task": self.task_vectors}
        if self._looks_ahead:
            told["observation_ahead"] = self.observation_ahead()
        return told

    def _look_ahead(self, waiting: list[int], ahead: np.ndarray) -> None:
        """Rows of `waiting` go through the actions that are on their way, in a simulation beside their own."""
        kind, low_high = mujoco.mjtState.mjSTATE_INTEGRATION, self._config["contact_force_range"]
        state = np.zeros(mujoco.mj_stateSize(self.model, kind))
        beside = mujoco.MjData(self.model)
        while True:
            try:
                i = waiting.pop()
            except IndexError:
                return
            model = self._models[i]
            mujoco.mj_getState(model, self._datas[i], state, kind)
            mujoco.mj_setState(model, beside, state, kind)
            for age in reversed(range(self._delay[i])):
                beside.ctrl[:] = self._sent[i, age, self._wiring[i]]
                mujoco.mj_step(model, beside, self.frame_skip)
            mujoco.mj_rnePostConstraint(model, beside)
            state_ahead = np.concatenate([beside.qpos, beside.qvel])
            ahead[i, :self._kinematic] = state_ahead[self._skip:]
            if self._with_forces:
                ahead[i, self._kinematic:] = beside.cfrc_ext.ravel().clip(*low_high)[6:]

    def _load_model(self) -> mujoco.MjModel:
        if self.distribution is not None and "terrain" in self.distribution.differs():
            return model_with_terrain(self._config["xml_file"])
        return super()._load_model()

    def _make_models(self) -> list[mujoco.MjModel]:
        self._scratch = mujoco.MjData(self.model)
        return list(map(self._model, self._tasks))

    def _model(self, task: Task) -> mujoco.MjModel:
        """Rows with the stock body share its model: one of their own each would take half a megabyte."""
        return self.model if task.has_stock_body else model_of(task, self.model, self._scratch)

    def _restart(self, row: int, seed: int | None) -> None:
        super()._restart(row, seed)
        self._episodes_left[row] = 0
        if seed is not None:
            self._streams[row] = _stream(int(seed))
        if self.distribution is None:
            self._clear(row)

    def _clear(self, *rows: int) -> None:
        """The stock task for these rows, without any for all."""
        for row in rows or range(self.num_envs):
            if self._tasks[row] != _STOCK:
                self.set_task(row, _STOCK)

    def _draw(self, row: int) -> None:
        if self.distribution is not None:
            self.set_task(row, self.distribution.sample(self._streams[row], self.task_part))

    def _reset_rows(self, mask: np.ndarray) -> None:
        for i in np.flatnonzero(mask).tolist():
            self._episodes_left[i] -= 1
            if self._episodes_left[i] <= 0:
                self._draw(i)
                self._episodes_left[i] = 1 if self.distribution is None else self.distribution.episodes_per_trial
                self._trial_first[i] = True
        self._sent[mask] = 0
        super()._reset_rows(mask)
        for i in np.flatnonzero(mask & self._moves).tolist():
            self._balls.begin(i, self._place(i))

    def _finish(self, infos: Infos, info: Infos, done: np.ndarray) -> None:
        infos["final_task"] = self.task_vectors
        super()._finish(infos, info, done)

    def _terminated(self, healthy: np.ndarray) -> np.ndarray:
        """Also where a ball hit."""
        rows = [i for i in np.flatnonzero(self._moves).tolist() if self._tasks[i].hit_radius]
        self._hit = self._balls.step(self._tasks, rows, self._xy_after.T)
        return super()._terminated(healthy) | self._hit

    def _place(self, row: int) -> np.ndarray:
        """Where a row's torso is, as its reward counts it [2] [m]: a step's displacement is the difference of two."""
        place: np.ndarray = self._rows[row][2]
        return place

    def _simulate(self, actions: np.ndarray) -> None:
        """What reaches the motors: the action of some ticks ago, through the wiring."""
        self._sent[:, 1:] = self._sent[:, :-1]
        self._sent[:, 0] = actions
        rows = np.arange(self.num_envs)
        super()._simulate(self._sent[rows[:, None], self._delay[:, None], self._wiring])

    def _reward(self, x_velocity: np.ndarray, actions: np.ndarray,
                forces: np.ndarray) -> tuple[np.ndarray, np.ndarray, Infos]:
        rewards, healthy, parts = super()._reward(x_velocity, actions, forces)
        if not self._replaces.any():
            return rewards, healthy, parts
        forward = parts["reward_forward"]
        y_velocity = (self._xy_after[1] - self._xy_before[1]) / self.dt
        for i in np.flatnonzero(self._replaces).tolist():
            wanted = self._wanted(i, self._tasks[i], x_velocity[i], y_velocity[i])
            wanted *= self._config["forward_reward_weight"]
            rewards[i] += wanted - forward[i]
            forward[i] = wanted
        return rewards, healthy, parts

    def _wanted(self, row: int, task: Task, x_velocity: float, y_velocity: float) -> float:
        """What stands in for the forward velocity in the reward of a row whose task replaces it."""
        if task.heading is not None:
            return float(x_velocity * np.cos(task.heading) + y_velocity * np.sin(task.heading))
        if task.goal is not None:
            return float(seen.goal_reward(task.goal - self._place(row), task.goal_radius))
        if task.speed is not None:
            return -abs(float(x_velocity) - task.speed)
        yaw_rate, height = self._state[row, self.model.nq + 5], self._state[row, 2]
        return float(np.dot(task.weights, (x_velocity, y_velocity, yaw_rate, height)))


def _stream(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, _STREAM])
