"""Settings of RL^2."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.settings import changed, setting
from trainer.algorithms.on_policy.ppo import ClippedConfig
from trainer.networks.recurrent_actor import CELLS

HEADS = ("gaussian", "categorical")


@dataclass(frozen=True)
class RL2Config(ClippedConfig):
    """Settings of RL^2."""

    minibatch_rows: int = setting(16, "robots whose whole rollouts make up a gradient step, all where there are "
                                  "fewer; num_envs must be a multiple of it", minimum=1)
    actor_hidden: tuple[int, ...] = changed((64,))
    memory: bool = setting(True, "whether the actor has a memory; false is the control: the same learner with the same "
                           "inputs, previous action, reward and end among them, that remembers nothing")
    cell: str = setting("gru", "kind of the memory", choices=CELLS)
    memory_size: int = setting(64, "numbers that the memory holds (an LSTM twice as many)", minimum=1)
    input_hidden: tuple[int, ...] = setting((64,), "sizes of the layers before the memory; what they give also goes "
                                            "past it to the actor's hidden layers", minimum=1)
    reward_scale: float = setting(0.2, "the previous reward is multiplied by it before the actor takes it", above=0)
    reward_clip: float = setting(3.0, "and is then clipped to this magnitude", above=0)
    privileged_critic: bool = setting(True, "whether the critic is told the task, where the environment tells it; "
                                      "the actor never is")
    head: str = setting("gaussian", "gaussian: every number of the action is drawn; categorical: one of them is "
                        "chosen, and is 1 then, the others 0", choices=HEADS)
    initial_policy: str = setting("", "policy to go on from, a bundle of the same cell and sizes or the name of a "
                                  "shipped one; its critic is lost; empty means none", path=True)
    actor_starts: int = setting(0, "updates in which the critic learns before the actor does, as one that was given "
                                "should wait for it", minimum=0)
