"""Methods whose policies have a memory and find out within a trial which task they are in."""

from __future__ import annotations

from trainer.algorithms.method import Method

METHODS = {
    "guided_rl2": Method(f"{__name__}.guided_rl2", "GuidedRL2", "GuidedRL2Config", 64,
                         "a policy that is told its task teaches one that finds it out",
                         needs_tasks=True, max_episode_steps=100),
    "rl2": Method(f"{__name__}.rl2", "RL2", "RL2Config", 64,
                  "RL^2: PPO with a memory over all episodes in a task, which it finds out",
                  short_run={"memory": False}),
}
