"""The learning methods by name."""

from __future__ import annotations

from typing import Any, NamedTuple

from trainer.algorithms.off_policy.ddpg import DDPG, DDPGConfig
from trainer.algorithms.off_policy.dqn import DQN, DQNConfig
from trainer.algorithms.off_policy.sac import SAC, SACConfig
from trainer.algorithms.off_policy.td3 import TD3, TD3Config
from trainer.algorithms.off_policy.td7 import TD7, TD7Config
from trainer.algorithms.on_policy.a2c import A2C, A2CConfig
from trainer.algorithms.on_policy.ppo import PPO, PPOConfig


class Method(NamedTuple):
    """A learning method: its learner, its configuration, how many robots it likes to collect with, and what it is."""

    learner: type
    config: type[Any]
    num_envs: int
    summary: str


ALGORITHMS = {
    "ppo": Method(PPO, PPOConfig, 16, "proximal policy optimization: steady, and fastest by the clock"),
    "a2c": Method(A2C, A2CConfig, 16, "advantage actor-critic: one gradient step for every few ticks of all robots"),
    "ddpg": Method(DDPG, DDPGConfig, 1, "one critic, a deterministic actor; network:=report is the study's network"),
    "td3": Method(TD3, TD3Config, 1, "twin critics on learned embeddings, a delayed deterministic actor, noise on its target"),
    "sac": Method(SAC, SACConfig, 1, "twin critics on learned embeddings, a random actor with a learned temperature"),
    "td7": Method(TD7, TD7Config, 1, "TD3 on learned embeddings of states and actions: most return for the steps it sees"),
    "dqn": Method(DQN, DQNConfig, 1, "no actor: two critics give a value to each of a few torque levels per joint"),
}
