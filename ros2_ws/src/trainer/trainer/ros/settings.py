"""Parameters of the trainer node."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.modes import MODES
from ant_rl_core.settings import Settings, setting
from trainer.algorithms.table import ALGORITHMS
from trainer.ros.background import MAX_BEHIND


@dataclass(frozen=True)
class TrainerSettings(Settings):
    """Parameters of the trainer node."""

    mode: str = setting("lockstep", "lockstep: hold the environments while learning; methods that learn all the time "
                        f"do so while more than {MAX_BEHIND} ticks are still to be learned from. realtime: let them go "
                        "on", choices=MODES)
    algorithm: str = setting("ppo", "learning method", choices=tuple(ALGORITHMS))
    config: tuple[str, ...] = setting(("",), "settings of the method as NAME:=VALUE, see ./run train ALGORITHM --help")
    namespaces: tuple[str, ...] = setting(("",), "namespaces of the environments to learn from; empty text: the node's "
                                          "own")
    seed: int = setting(0, "seed of networks and of the order of learning; one that is resumed goes on with its own",
                        minimum=0)
    output: str = setting("runs/ros", "folder for checkpoint, curve and policy", path=True)
    checkpoint_interval: int = setting(0, "environment steps between checkpoints; 0: as many as in one process, or as "
                                       "the training was begun with", minimum=0)
    resume: bool = setting(False, "go on from the checkpoint in the output folder, if there is one, with the settings "
                           "of then where none are given; without it a folder that holds one is refused")
    policy_interval: float = setting(1.0, "time between new policies of a method that learns all the time; other "
                                     "methods publish one after each update", unit="s", minimum=0,
                                     finite=False)
