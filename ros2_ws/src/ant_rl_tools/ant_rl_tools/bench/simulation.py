"""VectorAnt against raw MuJoCo, Gymnasium's vector environments and EnvPool, on the same episodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from ant_env_node.vec_env import VectorAnt
from ant_rl_tools.bench.rows import Measured, compare, paired_rates
from ant_rl_tools.unavailable import Unavailable

NUM_ENVS = 16
_SEED = 0
_PILOT_TICKS = 40
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class RawPhysics:
    """`mj_step` and nothing else, over the same robots, actions and resets as a VectorAnt, on as many threads.

    The threads share nothing: each steps its own robots through all ticks and waits for nobody.

    Args:
        env: the VectorAnt to follow; its episodes are run once to learn where robots are reset, and to what.
        actions: float32 [ticks, n, 8].
        seed: of the reset before the first tick.
    """

    def __init__(self, env: VectorAnt, actions: np.ndarray, seed: int) -> None:
        self._model, self._frame_skip = env.model, env.frame_skip
        self._actions = actions
        self._threads = env.num_threads
        self.datas = [mujoco.MjData(env.model) for _ in range(env.num_envs)]
        # For each robot its states after resets by tick; -1 is before the first.
        self._resets: list[dict[int, np.ndarray]] = [{} for _ in self.datas]
        env.reset(seed=seed)
        self._learn_resets(env, -1, range(env.num_envs))
        for tick, action in enumerate(actions):
            _, _, terminated, truncated, _ = env.step(action)
            self._learn_resets(env, tick, np.flatnonzero(terminated | truncated).tolist())

    def run(self) -> float:
        """Steps all robots through all ticks; returns the seconds it took."""
        start = time.perf_counter()
        with ThreadPoolExecutor(self._threads) as pool:
            for future in [pool.submit(self._run_rows, first) for first in range(self._threads)]:
                future.result()
        return time.perf_counter() - start

    def _learn_resets(self, env: VectorAnt, tick: int, rows: Sequence[int]) -> None:
        for row in rows:
            state = np.empty(mujoco.mj_stateSize(env.model, _STATE))
            mujoco.mj_getState(env.model, env.data(int(row)), state, _STATE)
            self._resets[row][tick] = state

    def _run_rows(self, first: int) -> None:
        model, frame_skip, step = self._model, self._frame_skip, mujoco.mj_step
        mine = [(data, data.ctrl, row, self._resets[row])
                for row, data in enumerate(self.datas)][first::self._threads]
        for data, _, _, resets in mine:
            mujoco.mj_setState(model, data, resets[-1], _STATE)
        for tick, action in enumerate(self._actions):
            for data, ctrl, row, resets in mine:
                ctrl[:] = action[row]
                step(model, data, frame_skip)
                if tick in resets:
                    mujoco.mj_setState(model, data, resets[tick], _STATE)


def run_vector_env(env: VectorEnv, actions: np.ndarray, seed: int) -> float:
    """Resets a Gymnasium vector environment and steps it through all actions; returns the seconds of the steps."""
    env.reset(seed=seed)
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return time.perf_counter() - start


def measure(names: Sequence[str], seconds: float, rounds: int) -> dict[str, Measured]:
    """The rows vector_ant_vs_* that are asked for, by name.

    Args:
        names: rows to measure.
        seconds: length of one segment of VectorAnt [s]; the others take as long as they need for the same steps.
        rounds: segments of each contender.
    """
    opponents = {"vector_ant_vs_mj_step": "mj_step", "vector_ant_vs_sync": "sync", "vector_ant_vs_async": "async",
                 "vector_ant_vs_envpool": "envpool"}
    found: dict[str, Measured] = {}
    envs: list[Any] = []
    vector_envs: dict[str, Any] = {}
    try:
        # First of all, as it makes processes by forking: there must be no threads yet.
        for mode in ("async", "sync"):
            if f"vector_ant_vs_{mode}" in names:
                vector_envs[mode] = gymnasium.make_vec("Ant-v5", NUM_ENVS, vectorization_mode=mode,
                                                       vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP})
                envs.append(vector_envs[mode])
        ant = vector_envs["vector_ant"] = VectorAnt(NUM_ENVS, _SEED)
        envs.append(ant)
        actions = _actions(_ticks(ant, seconds))
        contenders: dict[str, Callable[[], float]] = {
            name: partial(run_vector_env, env, actions, _SEED) for name, env in vector_envs.items()}
        if "vector_ant_vs_mj_step" in names:
            contenders["mj_step"] = RawPhysics(ant, actions, _SEED).run
        if "vector_ant_vs_envpool" in names:
            try:
                envs.append(_make_envpool(ant.num_threads))
                contenders["envpool"] = partial(_run_envpool, envs[-1], actions)
            except Unavailable as reason:
                found["vector_ant_vs_envpool"] = Measured(reason=str(reason))
        steps = len(actions) * NUM_ENVS
        rates = paired_rates({name: partial(_rate, steps, run) for name, run in contenders.items()}, rounds)
    finally:
        for env in envs:
            env.close()
    found.update({name: compare(rates, "vector_ant", opponents[name])
                  for name in names if opponents[name] in rates})
    return found


def _actions(ticks: int) -> np.ndarray:
    return np.random.default_rng(_SEED).uniform(-1.0, 1.0, (ticks, NUM_ENVS, 8)).astype(np.float32)


def _ticks(ant: VectorAnt, seconds: float) -> int:
    """How many ticks take about so long; the pilot that finds it warms up as well."""
    return max(10, round(seconds * _PILOT_TICKS / run_vector_env(ant, _actions(_PILOT_TICKS), _SEED)))


def _make_envpool(num_threads: int) -> Any:
    try:
        import envpool
    except ImportError as error:
        raise Unavailable(f"EnvPool is not installed ({error}); to compare, pip install envpool") from error
    if "Ant-v5" not in envpool.list_all_envs():
        raise Unavailable(f"EnvPool {envpool.__version__} has no Ant-v5")
    return envpool.make("Ant-v5", env_type="gymnasium", num_envs=NUM_ENVS, num_threads=num_threads, seed=_SEED)


def _run_envpool(env: Any, actions: np.ndarray) -> float:
    """As `run_vector_env`: EnvPool takes float64 actions and can't be seeded again, so its episodes are its own."""
    actions = actions.astype(np.float64)
    env.reset()
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return time.perf_counter() - start


def _rate(steps: int, run: Callable[[], float]) -> float:
    return steps / run()
