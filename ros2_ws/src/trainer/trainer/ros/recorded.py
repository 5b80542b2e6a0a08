"""A learner together with the record and the folder of its training, kept in the order of learning."""

from __future__ import annotations

from ant_rl_core.contracts import Learner
from ant_rl_core.step import Transition
from trainer.runs.folder import RunFolder
from trainer.runs.record import Record


class RecordedLearner:
    """What `InlineLearning` and `BackgroundLearning` drive: each tick and update is recorded where it is learned.

    A row of the curve comes where `./run train METHOD` writes it: of an on-policy learner after an update, of any other
    after a tick and before what is owed for it.

    Args:
        learner: is driven through this object alone.
        record: of the same number of robots.
        folder: where the run is kept, already begun; None keeps nothing.
        total_steps: environment steps of the whole run.
    """

    def __init__(self, learner: Learner, record: Record, folder: RunFolder | None, total_steps: int) -> None:
        self._learner, self._record, self._folder, self._total = learner, record, folder, total_steps
        self._keep()

    def observe(self, batch: Transition) -> None:
        """As `Learner.observe`."""
        self._learner.observe(batch)
        self._record.add_tick(batch)
        if not self._learner.on_policy:
            self._add_row()

    def ready(self) -> bool:
        """As `Learner.ready`."""
        return self._learner.ready()

    def update(self) -> dict[str, float]:
        """As `Learner.update`."""
        metrics = self._learner.update()
        self._record.add_metrics(metrics)
        if self._learner.on_policy:
            self._add_row()
            self._keep()
        return metrics

    def save(self) -> None:
        """Write a checkpoint; CheckpointError and FloatingPointError as `RunFolder.save`.

        Of an on-policy learner it is the state after the last update: within a rollout there is none to go on from.
        """
        if self._folder is not None:
            state = self._kept if self._learner.on_policy else self._folder.state(self._learner, self._record)
            self._folder.save(self._learner, state)

    def _keep(self) -> None:
        if self._folder is not None and self._learner.on_policy:
            self._kept = self._folder.state(self._learner, self._record)

    def _add_row(self) -> None:
        steps = self._learner.env_steps
        if self._folder is not None:
            self._folder.add_row_if_due(self._record, steps, steps >= self._total)
