"""How much of PPO's time is not physics."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv
from ant_rl_tools.bench.rows import Measured

NUM_ENVS = 16
_UPDATES = 10


def measure() -> Measured:
    """The row ppo_overhead: PPO with its defaults in this process, from its first update on, which compiles."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from trainer import loop  # TensorFlow takes seconds and memory: last, and only for this row
    from trainer.algorithms.on_policy.ppo import PPO, PPOConfig

    ant = VectorAnt(NUM_ENVS, 0)
    env = TimeStepEnv(ant)
    learner = PPO(PPOConfig(), NUM_ENVS, env.observation_size, env.action_size, seed=0)
    marks: list[tuple[float, float, int]] = []

    def on_update(figures: Mapping[str, float]) -> bool:
        marks.append((time.perf_counter(), ant.physics_seconds, learner.env_steps))
        return len(marks) > _UPDATES

    try:
        loop.run(env, learner, learner, env.reset(), lambda time_step: False, on_update)
    finally:
        env.close()
    wall, physics, steps = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    return Measured({"steps_per_s": steps / wall, "physics_s": physics, "wall_s": wall, "updates": float(_UPDATES)},
                    (wall - physics) / wall)
