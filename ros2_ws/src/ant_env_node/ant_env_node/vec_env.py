"""Many Gymnasium Ant-v5 robots in one process, stepped by threads, equal to Gymnasium bit for bit.

MuJoCo releases Python's global lock while it integrates, so threads share the rows of one batch; everything
cheap (observations, rewards, infos) is computed afterwards for all rows at once. Every expression keeps the
operand order and the dtypes of ``gymnasium.envs.mujoco.ant_v5``; where numpy could round differently over a
batch than over one row, a comment says what keeps the two equal. Longer than others because it is Gymnasium's AntEnv
and its vector environment in one, whose simulation, arrays and random streams are one state.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import json
import operator
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ant_env_node.workers import Workers

Infos = dict[str, Any]

# The keywords of Ant-v5 and their defaults, from the installed Gymnasium, so the two cannot drift apart.
ANT_DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(AntEnv.__init__).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}
_OWN_KEYWORDS = ("num_threads", "max_episode_steps")


def load_model(xml_file: str = ANT_DEFAULTS["xml_file"]) -> mujoco.MjModel:
    """The robot's model, one of Gymnasium's by name or another by path; OSError where there is no such file."""
    return mujoco.MjModel.from_xml_path(expand_model_path(xml_file))


class VectorAnt(VectorEnv):
    """``num_envs`` Ants; row i equals ``gymnasium.make("Ant-v5", **ant_kwargs)`` seeded with ``seed + i``.

    A finished row is reset within the same step (``AutoresetMode.SAME_STEP``): its observation row is the new
    episode's first, and ``infos["final_obs"]`` and ``infos["final_info"]`` keep the old episode's last.

    Args:
        num_envs: number of robots, at least 1.
        seed: row i draws its reset noise from ``seed + i``; None draws from the operating system.
        num_threads: threads that step physics, the caller's included; default: one per usable core, at most
            one per robot. Results do not depend on it.
        max_episode_steps: steps after which an episode is truncated.
        **ant_kwargs: any keyword of Ant-v5; ``default_camera_config`` has no effect, since nothing is drawn here.

    Raises:
        TypeError: unknown keyword, or a count that is not an int.
        ValueError: a count below 1.
        OSError: ``xml_file`` does not exist.
    """

    def __init__(self, num_envs: int, seed: int | None = None, num_threads: int | None = None, *,
                 max_episode_steps: int = 1000, **ant_kwargs: Any) -> None:
        for name in ant_kwargs:
            if name not in ANT_DEFAULTS:
                raise TypeError(_unknown_keyword(name))
        if num_threads is None:
            num_threads = _usable_cores()
        for name, count in (("num_envs", num_envs), ("num_threads", num_threads),
                            ("max_episode_steps", max_episode_steps)):
            if operator.index(count) < 1:
                raise ValueError(f"{name} must be at least 1, found {count}")

        self._config = {**ANT_DEFAULTS, **ant_kwargs}
        self.num_envs = num_envs
        self.num_threads = min(num_threads, num_envs)
        self.max_episode_steps = max_episode_steps
        self.physics_seconds = 0.0

        self.model = self._load_model()
        self.frame_skip: int = self._config["frame_skip"]
        self.spec = copy.deepcopy(gymnasium.spec("Ant-v5"))
        self.spec.max_episode_steps = max_episode_steps
        self.spec.kwargs = dict(ant_kwargs)
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

        row_seeds = [None if seed is None else int(seed) + i for i in range(num_envs)]
        self._rngs, self._seeds = map(list, zip(*map(seeding.np_random, row_seeds), strict=True))
        self._allocate()
        self._workers = Workers(self.num_threads - 1)

    def _allocate(self) -> None:
        """Makes the simulations, the batch arrays, and for each row the views between which a step copies."""
        n, model = self.num_envs, self.model
        self._models = self._make_models()
        self._datas = [mujoco.MjData(each) for each in self._models]
        self._init_qpos, self._init_qvel = self._datas[0].qpos.copy(), self._datas[0].qvel.copy()
        body = self._datas[0].body(self._config["main_body"]).id

        self._skip = 2 if self._config["exclude_current_positions_from_observation"] else 0
        self._kinematic = model.nq + model.nv - self._skip
        self._with_forces = bool(self._config["include_cfrc_ext_in_observation"])
        size = self._kinematic + (6 * (model.nbody - 1) if self._with_forces else 0)
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        self.single_action_space = Box(low, high, dtype=np.float32)
        self.single_observation_space = Box(-np.inf, np.inf, shape=(size,), dtype=np.float64)
        self.action_space = batch_space(self.single_action_space, n)
        self.observation_space = batch_space(self.single_observation_space, n)

        self._state = np.zeros((n, model.nq + model.nv))
        self._forces = np.zeros((n, 6 * model.nbody))
        self._xy_before, self._xy_after = np.zeros((2, n)), np.zeros((2, n))
        self._obs = np.zeros((n, size))
        self._episode_step = np.zeros(n, np.int64)
        self._was_reset = False
        self._rows = [
            (data, data.ctrl, data.xpos[body, :2], self._xy_before[:, i], self._xy_after[:, i],
             data.qpos, self._state[i, :model.nq], data.qvel, self._state[i, model.nq:],
             data.cfrc_ext, self._forces[i].reshape(model.nbody, 6))
            for i, data in enumerate(self._datas)
        ]

    def _load_model(self) -> mujoco.MjModel:
        """The model that the rows' are made of."""
        return load_model(self._config["xml_file"])

    def _make_models(self) -> list[mujoco.MjModel]:
        """The model of each row."""
        return [self.model] * self.num_envs

    @property
    def dt(self) -> float:
        """Simulated time of one step, in seconds."""
        return self.model.opt.timestep * self.frame_skip

    @property
    def episode_step(self) -> np.ndarray:
        """Steps since each row's reset, int64 [n]."""
        return self._episode_step.copy()

    # Gymnasium's own vector environment has one stream for all rows; bit-equal rows need one each.
    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Each row's random stream."""
        return tuple(self._rngs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed that each row's random stream began with."""
        return tuple(self._seeds)

    def data(self, row: int) -> mujoco.MjData:
        """The live simulation of one row; read it between steps only."""
        return self._datas[row]

    def row_model(self, row: int) -> mujoco.MjModel:
        """The model that one row is simulated by; read it between steps only."""
        return self._models[row]

    def reset(self, *, seed: int | Sequence[int | None] | None = None,
              options: dict[str, Any] | None = None) -> tuple[np.ndarray, Infos]:
        """Begins new episodes.

        Args:
            seed: an int reseeds row i with ``seed + i``, a list gives each row's seed; None goes on with the
                row's stream, which the first time is the constructor's seed.
            options: ``{"reset_mask": bool [n]}`` resets only the marked rows.

        Returns:
            The observations, float64 [n, obs], and the infos of the rows that were reset.

        Raises:
            ValueError: a list of seeds or a mask of another length, or a mask that marks no row.
            TypeError: a mask that is not a numpy array of bool.
            ResetNeeded: a mask before the first full reset.
            ClosedEnvironmentError: after close().
        """
        if self.closed:
            raise ClosedEnvironmentError("reset() after close()")
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds: Sequence[int | None] = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = seed
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, one per row, found {len(seeds)}")
        mask = (options or {}).get("reset_mask")
        if mask is None:
            mask = np.ones(self.num_envs, np.bool_)
        else:
            self._check_mask(mask)
        for i in np.flatnonzero(mask).tolist():
            self._restart(i, seeds[i])
        self._was_reset = True
        self._reset_rows(mask)
        infos: Infos = {}
        _add(infos, {key: np.where(mask, value, 0.0) for key, value in self._position_info().items()}, mask)
        return self._obs.copy(), infos

    def _restart(self, row: int, seed: int | None) -> None:
        """Prepares a row for a reset that was asked for, with this seed or, without one, where its stream is."""
        if seed is not None:
            self._rngs[row], self._seeds[row] = seeding.np_random(int(seed))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Applies one action per row for ``dt`` seconds and resets the rows that finish.

        Args:
            actions: [n, 8], numeric and finite, 1.0 = 150 N m in the stock model. MuJoCo clamps them to the
                action space; the control cost counts them as given, as in Gymnasium.

        Returns:
            observations float64 [n, obs], rewards float64 [n], terminated bool [n], truncated bool [n],
            infos; all are the caller's to keep.

        Raises:
            ValueError: actions of another shape, or NaN or infinity in them; no row was stepped.
            ResetNeeded: before the first reset.
            ClosedEnvironmentError: after close().
        """
        actions = self._checked(actions)
        started = time.perf_counter()
        self._simulate(actions)
        self.physics_seconds += time.perf_counter() - started

        x_velocity, y_velocity = (self._xy_after - self._xy_before) / self.dt
        rewards, healthy, reward_info = self._reward(x_velocity, actions, self._observe())
        terminated = self._terminated(healthy)
        self._episode_step += 1
        truncated = self._episode_step >= self.max_episode_steps
        info = {**self._position_info(), "x_velocity": x_velocity, "y_velocity": y_velocity, **reward_info}
        infos: Infos = {}
        done = terminated | truncated
        if np.count_nonzero(done):
            self._finish(infos, info, done)
        else:
            _add(infos, info, np.ones(self.num_envs, np.bool_))
        return self._obs.copy(), rewards, terminated, truncated, infos

    def save(self) -> dict[str, np.ndarray]:
        """Everything that the next steps depend on, as named arrays; `restore` goes on from them bit for bit."""
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        physics = np.zeros((self.num_envs, mujoco.mj_stateSize(self.model, kind)))
        for data, row in zip(self._datas, physics, strict=True):
            mujoco.mj_getState(self.model, data, row, kind)
        streams = json.dumps({"seeds": self._seeds, "states": [rng.bit_generator.state for rng in self._rngs]})
        return {"physics": physics, "body_xy": np.array([row[2] for row in self._rows]), "state": self._state.copy(),
                "forces": self._forces.copy(), "episode_step": self._episode_step.copy(),
                "streams": np.frombuffer(streams.encode(), np.uint8)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> np.ndarray:
        """Goes on from what `save` gave; returns the observations, float64 [n, obs].

        Raises:
            ValueError: saved with another number of robots or another model.
        """
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        shape = (self.num_envs, mujoco.mj_stateSize(self.model, kind))
        if saved["physics"].shape != shape:
            raise ValueError(f"expected a saved physics state of shape {shape}, found {saved['physics'].shape}")
        streams = json.loads(saved["streams"].tobytes())
        for i, (data, stream) in enumerate(zip(self._datas, streams["states"], strict=True)):
            mujoco.mj_setState(self.model, data, saved["physics"][i], kind)
            # Not part of MuJoCo's state: a step's velocity starts from the position that the step before left here.
            self._rows[i][2][:] = saved["body_xy"][i]
            self._rngs[i].bit_generator.state = stream
        self._seeds = streams["seeds"]
        self._state[:], self._forces[:] = saved["state"], saved["forces"]
        self._episode_step[:] = saved["episode_step"]
        self._was_reset = True
        self._observe()
        return self._obs.copy()

    def told(self) -> Infos:
        """Infos of the present observations that are not of a step, for one who goes on after `restore`."""
        return {}

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the threads; ``close`` calls it once."""
        self._workers.close()

    def __enter__(self) -> VectorAnt:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, actions: Any) -> np.ndarray:
        if self.closed:
            raise ClosedEnvironmentError("step() after close()")
        if not self._was_reset:
            raise ResetNeeded("call reset() before step()")
        # Contiguous rows are summed in the order of a single row; the dtype is kept, as the control cost's
        # precision in Gymnasium is that of the action.
        actions = np.ascontiguousarray(actions)
        if actions.shape != self.action_space.shape:
            raise ValueError(f"expected actions of shape {self.action_space.shape}, found {actions.shape}")
        finite = np.isfinite(actions)
        if np.count_nonzero(finite) < finite.size:
            rows = np.flatnonzero(~finite.all(axis=1)).tolist()
            raise ValueError(f"expected finite actions, found NaN or infinity in rows {rows}")
        return actions

    def _check_mask(self, mask: Any) -> None:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"reset_mask must be a numpy array of bool, found {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"reset_mask must have shape ({self.num_envs},) and mark a row, found {mask}")
        if not self._was_reset:
            raise ResetNeeded("reset every row once before using reset_mask")

    def _simulate(self, actions: np.ndarray) -> None:
        """Steps every row's physics; threads take the next waiting row, so a slow row delays nobody."""
        waiting = list(range(self.num_envs))
        self._workers.run(self._take_rows, waiting, actions)

    def _take_rows(self, waiting: list[int], actions: np.ndarray) -> None:
        models, frame_skip, rows = self._models, self.frame_skip, self._rows
        step, post_constraint = mujoco.mj_step, mujoco.mj_rnePostConstraint
        while True:
            try:
                i = waiting.pop()
            except IndexError:
                return
            data, ctrl, xy, xy_before, xy_after, qpos, to_qpos, qvel, to_qvel, forces, to_forces = rows[i]
            model = models[i]
            xy_before[:] = xy
            ctrl[:] = actions[i]
            step(model, data, frame_skip)
            post_constraint(model, data)
            xy_after[:] = xy
            to_qpos[:] = qpos
            to_qvel[:] = qvel
            to_forces[:] = forces

    def _observe(self) -> np.ndarray:
        """Fills the observations from the copied state; returns the clipped contact forces [n, 6 * nbody]."""
        low, high = self._config["contact_force_range"]
        forces = self._forces.clip(low, high)
        self._obs[:, :self._kinematic] = self._state[:, self._skip:]
        if self._with_forces:
            self._obs[:, self._kinematic:] = forces[:, 6:]  # the world body's six are left out
        return forces

    def _reward(self, x_velocity: np.ndarray, actions: np.ndarray,
                forces: np.ndarray) -> tuple[np.ndarray, np.ndarray, Infos]:
        """Returns the rewards [n], which robots are healthy [n], and the reward's four parts."""
        config, z = self._config, self._state[:, 2]
        low, high = config["healthy_z_range"]
        healthy = (low <= z) & (z <= high)
        finite = np.isfinite(self._state)
        if np.count_nonzero(finite) < finite.size:
            healthy &= finite.all(axis=1)
        forward = x_velocity * config["forward_reward_weight"]
        survive = healthy * config["healthy_reward"]
        control = config["ctrl_cost_weight"] * np.add.reduce(np.square(actions), axis=1)
        contact = config["contact_cost_weight"] * np.add.reduce(np.square(forces), axis=1)
        rewards = (forward + survive) - (control + contact)
        return rewards, healthy, {"reward_forward": forward, "reward_ctrl": -control,
                                  "reward_contact": -contact, "reward_survive": survive}

    def _terminated(self, healthy: np.ndarray) -> np.ndarray:
        """bool [n], which episodes the task itself ends; called once a step, after the reward."""
        return ~healthy if self._config["terminate_when_unhealthy"] else np.zeros_like(healthy)

    def _position_info(self) -> Infos:
        # matmul takes a BLAS dot product per row, as np.linalg.norm does; x*x + y*y would round otherwise.
        xy = self._state[:, :2]
        squared = xy[:, None, :] @ xy[:, :, None]
        return {"x_position": xy[:, 0].copy(), "y_position": xy[:, 1].copy(),
                "distance_from_origin": np.sqrt(squared[:, 0, 0])}

    def _finish(self, infos: Infos, info: Infos, done: np.ndarray) -> None:
        """Keeps the last observation and info of the finished rows in infos, and resets those rows."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(done):
            final_obs[i] = self._obs[i].copy()
        final_info: Infos = {}
        _add(final_info, {key: np.where(done, value, value.dtype.type(0)) for key, value in info.items()},
             done)
        infos.update(final_obs=final_obs, _final_obs=done.copy(),
                     final_info=final_info, _final_info=done.copy())
        self._reset_rows(done)
        position = self._position_info()
        _add(infos, position, np.ones(self.num_envs, np.bool_))
        if not done.all():  # a reset's info has positions only
            _add(infos, {key: np.where(done, value.dtype.type(0), value) for key, value in info.items()
                         if key not in position}, ~done)

    def _reset_rows(self, mask: np.ndarray) -> None:
        scale = self._config["reset_noise_scale"]
        for i in np.flatnonzero(mask):
            model, data, rng = self._models[i], self._datas[i], self._rngs[i]
            mujoco.mj_resetData(model, data)
            data.qpos[:] = self._init_qpos + rng.uniform(low=-scale, high=scale, size=model.nq)
            data.qvel[:] = self._init_qvel + scale * rng.standard_normal(model.nv)
            mujoco.mj_forward(model, data)
            _, _, _, _, _, qpos, to_qpos, qvel, to_qvel, forces, to_forces = self._rows[i]
            to_qpos[:], to_qvel[:], to_forces[:] = qpos, qvel, forces
        self._episode_step[mask] = 0
        self._observe()


def _add(infos: Infos, values: dict[str, np.ndarray], mask: np.ndarray) -> None:
    """Adds each value with a mask of its own that says which rows it holds for."""
    for key, value in values.items():
        infos[key] = value
        infos[f"_{key}"] = mask.copy()


def _unknown_keyword(name: str) -> str:
    valid = [*_OWN_KEYWORDS, *ANT_DEFAULTS]
    nearest = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)[0]
    return f"unknown keyword {name!r}; the nearest valid one is {nearest!r}"


def _usable_cores() -> int:
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0))
