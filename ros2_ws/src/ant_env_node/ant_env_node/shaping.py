"""Reward shaping: a bonus for going forward, penalties for standing still and for a low body. Off unless asked for.

What is added to the default reward of Ant-v5 at each step, with the forward speed v [m/s] (the step's change of the
torso's x position in the world, divided by the control period) and the height z [m] of the torso after the step:

    forward_bonus * v  -  (stall_penalty if v < stall_speed)  -  (low_body_penalty if z < low_body_height)

Both are those of the transition itself, also where it ended the episode and the robot was reset at once. The default
reward stays in `TimeStep.info["unshaped_reward"]`, and returns are reported of that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ant_env_node.episodes import of_transition
from ant_rl_core.settings import Settings, setting
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep, TimeStepEnv

_HEIGHT = 0  # index in the observation: the torso's z [m]


@dataclass(frozen=True)
class ShapingConfig(Settings):
    """Constants of the shaping; the default penalties together stay below the default reward's 1 for being upright."""

    forward_bonus: float = setting(0.5, "added per step for each m/s of forward speed (along x), taken off for "
                                   "backward speed", unit="s/m", minimum=0)
    stall_speed: float = setting(0.1, "a forward speed below this is a stall, standing still and going backward too",
                                 unit="m/s", minimum=0)
    stall_penalty: float = setting(0.5, "taken off per step of a stall", unit="1", minimum=0)
    low_body_height: float = setting(0.35, "a torso below this height is low; a walking Ant stays above 0.39 m, a "
                                     "fallen one at 0.27 m", unit="m", minimum=0)
    low_body_penalty: float = setting(0.3, "taken off per step with a low body", unit="1", minimum=0)

    def addition(self, speed: np.ndarray, height: np.ndarray) -> np.ndarray:
        """What is added to the default reward, [n].

        Args:
            speed: forward speed in the step, [n] [m/s].
            height: height of the torso after the step, [n] [m].
        """
        return (self.forward_bonus * speed - self.stall_penalty * (speed < self.stall_speed)
                - self.low_body_penalty * (height < self.low_body_height))


class ShapedEnv:
    """A `VectorEnv` of Ants with shaped rewards; everything else is that of the environment inside.

    Time steps that complete a transition have `info["unshaped_reward"]`, float32 [n]: the default reward.

    Args:
        env: `TimeStepEnv` over a `VectorAnt` whose observation is the default one.
        config: constants.

    Raises:
        ValueError: the observation is not the default one, so its height can't be told.
    """

    def __init__(self, env: TimeStepEnv, config: ShapingConfig) -> None:
        if env.observation_size != ANT.observation_size:
            raise ValueError(f"shaping needs the default observation of {ANT.observation_size} numbers, "
                             f"found {env.observation_size}")
        self.env = env
        self.config = config
        self.num_envs, self.observation_size, self.action_size = env.num_envs, env.observation_size, env.action_size
        self._x = np.zeros(env.num_envs)  # [m] of each robot now

    def reset(self, seed: int | None = None) -> TimeStep:
        """Start new episodes in all rows; row i is seeded with seed + i when a seed is given."""
        first = self.env.reset(seed)
        self._x = first.info["x_position"]
        return first

    def step(self, action: np.ndarray) -> TimeStep:
        """Apply float32 [n, action_size] actions in [-1, 1] for one control period."""
        step = self.env.step(action)
        x_after = of_transition(step.info, "x_position", step.done)
        speed = (x_after - self._x) / self.env.env.dt
        self._x = step.info["x_position"]  # of a finished row: where its new episode begins
        shaped = step.reward + self.config.addition(speed, step.final_observation[:, _HEIGHT])
        return replace(step, reward=shaped.astype(np.float32), info={**step.info, "unshaped_reward": step.reward})

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays: that of the environment inside, so shaping may be turned on or off in between."""
        return self.env.save()

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave, as if never interrupted."""
        start = self.env.restore(saved)
        self._x = np.array([self.env.env.data(row).qpos[0] for row in range(self.num_envs)])
        return start

    def close(self) -> None:
        """Release the environment."""
        self.env.close()
