"""Methods that learn from replay, of what any policy did."""

from __future__ import annotations

from trainer.algorithms.method import Method

METHODS = {
    "ddpg": Method(f"{__name__}.ddpg", "DDPG", "DDPGConfig", 1,
                   "one critic, a deterministic actor; network:=report is the study's network"),
    "td3": Method(f"{__name__}.td3", "TD3", "TD3Config", 1,
                  "twin critics on embeddings, a delayed deterministic actor, noise on its target"),
    "sac": Method(f"{__name__}.sac", "SAC", "SACConfig", 1,
                  "twin critics on learned embeddings, a random actor with a learned temperature",
                  short_run={"initial_temperature": 1e-3}),
    "td7": Method(f"{__name__}.td7", "TD7", "TD7Config", 1,
                  "TD3 on embeddings of states and actions: most return for the steps it sees"),
    "dqn": Method(f"{__name__}.dqn", "DQN", "DQNConfig", 1,
                  "no actor: two critics give a value to each of a few torque levels per joint",
                  short_run={"levels": 9, "epsilon": 0.3}),
}
