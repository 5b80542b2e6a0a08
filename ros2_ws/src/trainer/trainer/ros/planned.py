"""A run as the trainer node's parameters ask for it: checked, with a folder, and no learner yet."""

from __future__ import annotations

from ant_rl_core.settings import split
from ant_rl_core.spec import ANT
from ant_rl_core.timing import StageTimer
from trainer.algorithms.table import ALGORITHMS
from trainer.ros.outbox import Outbox
from trainer.ros.session import Session
from trainer.ros.settings import TrainerSettings
from trainer.runs.folder import RunFolder
from trainer.runs.train_config import choose_over_ros


class PlannedRun:
    """What is to be learned, by which method, and where it is kept.

    Args:
        settings: of the trainer node.

    Attributes:
        folder: of the run; it is made, held by it, and taken by no other run unless this one goes on with it.
        prefixes: of the names of topics and services, e.g. /a/ or nothing, by each environment's namespace.
        on_policy: whether the method learns from what its present policy did, from nothing else.

    Raises:
        ArgumentError: the settings, those of the method or the folder can't be used.
    """

    def __init__(self, settings: TrainerSettings) -> None:
        arguments = split(filter(None, settings.config))
        chosen = choose_over_ros(settings.algorithm, arguments, settings.output, settings.seed,
                                 settings.checkpoint_interval, settings.resume)
        self._policy_interval = settings.policy_interval
        self._learner = ALGORITHMS[settings.algorithm].learner
        self.on_policy: bool = self._learner.on_policy
        # A trainer that was killed before its first checkpoint is started again by the stack.
        self.folder = RunFolder(settings.algorithm, chosen, anew=settings.resume)
        self.folder.make()
        if not chosen.train.resume:
            self.folder.refuse_taken()
        self._namespaces = [namespace.strip("/") for namespace in settings.namespaces]
        self.prefixes = {namespace: (f"/{namespace}/" if namespace else "") for namespace in self._namespaces}

    def session(self, out: Outbox, stages: StageTimer) -> Session:
        """The learning of this run; see `Session` for both."""
        make, (train, config, _) = self._learner, self.folder.chosen
        return Session(
            lambda rows: make(config, rows, ANT.observation_size, ANT.action_size, train.seed, robot=ANT.name),
            self.on_policy, config.total_steps, self._namespaces, out, self.folder, {"seed": train.seed},
            self._policy_interval, stages=stages)

    def why_it_ended(self, error: Exception) -> str:
        """The sentence about what ended the session; see `Session.take` for the errors."""
        if isinstance(error, OSError):
            return (f"can't write to {self.folder.path} ({error.strerror}): make room; "
                    f"{self.folder.how_to_go_on()}")
        return str(error)
