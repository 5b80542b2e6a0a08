"""Parameters of the trainer node."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.modes import MODES
from ant_rl_core.settings import Settings, setting

# Ticks that may wait to be learned from before the environments are held.
MAX_BEHIND = 50


@dataclass(frozen=True)
class TrainerSettings(Settings):
    """Parameters of the trainer node."""

    mode: str = setting("lockstep", "lockstep: hold the environments while learning; methods that learn all the time "
                        f"do so while more than {MAX_BEHIND} ticks are still to be learned from. realtime: let them go "
                        "on", choices=MODES)
    algorithm: str = setting("ppo", "learning method")
    config: tuple[str, ...] = setting(("",), "settings of the method as NAME:=VALUE, see ./run train ALGORITHM --help")
    namespaces: tuple[str, ...] = setting(("",), "namespaces of the environments to learn from; empty text: the node's "
                                          "own")
    seed: int = setting(0, "seed of networks and of the order of learning", minimum=0)
    output: str = setting("runs/ros", "folder for checkpoint and policy")
    checkpoint_interval: int = setting(250_000, "environment steps between checkpoints", minimum=1)
    resume: bool = setting(False, "go on from the checkpoint in the output folder, if there is one; without it a "
                           "folder that holds one is refused")
    policy_interval: float = setting(1.0, "time between new policies of a method that learns all the time; other "
                                     "methods publish one after each update", unit="s", minimum=0,
                                     finite=False)
