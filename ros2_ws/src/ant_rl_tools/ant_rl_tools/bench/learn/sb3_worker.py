"""stable-baselines3's side of the comparison; run by an interpreter that has it.

It is used as it comes: `train` of TD3 and SAC on a filled replay buffer, `learn` of PPO, all on Ant-v5 and the
processor, with the settings of our own methods.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from worker_protocol import Segment, rate, serve

_FILLED = 20_000  # transitions
_WARM_UP = 50  # gradient steps
_STEPS_PER_CALL = 10


def make(kind: str, hidden: list[int], settings: dict[str, float]) -> Mapping[str, Segment]:
    """Segments by name: gradient steps per second (td3, sac), or environment steps per second (ppo).

    Args:
        kind: td3, sac or ppo.
        hidden: sizes of the hidden layers.
        settings: further arguments of the method, by stable-baselines3's names.
    """
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    policy = {"net_arch": hidden}
    if kind == "ppo":
        kinds = {"dummy": DummyVecEnv, "subprocesses": SubprocVecEnv}
        num_envs = int(settings.pop("num_envs"))
        return {name: _collect_and_learn(num_envs, vec_env, policy, settings) for name, vec_env in kinds.items()}
    model = {"td3": TD3, "sac": SAC}[kind]("MlpPolicy", gymnasium.make("Ant-v5"), policy_kwargs=policy, device="cpu",
                                           buffer_size=_FILLED, seed=0, **settings)
    model.set_logger(configure(None, []))
    _fill(model)

    def train(steps: int = _STEPS_PER_CALL) -> int:
        model.train(gradient_steps=steps, batch_size=model.batch_size)
        return steps

    train(_WARM_UP)
    return {"update": lambda seconds: rate(seconds, train)}


def _fill(model: TD3 | SAC) -> None:
    random = np.random.default_rng(0)
    shape = (1, *model.observation_space.shape)
    for _ in range(_FILLED):
        model.replay_buffer.add(random.normal(size=shape), random.normal(size=shape),
                                random.uniform(-1.0, 1.0, (1, *model.action_space.shape)).astype(np.float32),
                                random.normal(size=1), np.zeros(1), [{}])


def _collect_and_learn(num_envs: int, vec_env: type, policy: dict[str, Any], settings: dict[str, float]) -> Segment:
    env = make_vec_env("Ant-v5", num_envs, seed=0, vec_env_cls=vec_env)
    model = PPO("MlpPolicy", env, policy_kwargs=policy, device="cpu", seed=0, **settings)
    model.set_logger(configure(None, []))
    rollout = num_envs * model.n_steps

    def learn() -> int:
        model.learn(rollout, reset_num_timesteps=False)
        return rollout

    learn()
    return lambda seconds: rate(seconds, learn)


if __name__ == "__main__":
    serve(make)
