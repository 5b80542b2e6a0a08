"""A model of the environment that is asked about recordings; imports TensorFlow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ant_rl_core.files import write_atomically
from ant_rl_core.spec import ANT
from ant_rl_tools.model.reading import of_recording
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report.imagining import Beside, Imagination, beside, judged
from recorder_node.storage import BagError
from trainer.models import model_file
from trainer.models.data.rows import Stretch


class Imaginer:
    """Asks a model what comes of recorded torques.

    Args:
        path: of the model's file.
        steps: that it imagines from each moment.
        seconds: simulated time of the first robot for `write`; 0: none.

    Attributes:
        found: of each recording that was taken.

    Raises:
        ModelError: there is no model that can be used.
    """

    def __init__(self, path: str, steps: int, seconds: float) -> None:
        self._model = model_file.read(path)
        self._steps, self._ticks = steps, round(seconds / ANT.control_period)
        self.found: list[Imagination] = []
        self._beside: Sequence[Beside] = ()

    def take(self, recording: Recording) -> None:
        """Imagine beside one recording.

        Raises:
            BagError: it has no transitions, no stretch that is long enough, or is of another robot.
        """
        stretches = of_recording(recording)
        try:
            self.found.append(judged(self._model, stretches, self._steps))
            if self._ticks:
                self._beside = beside(self._model, self._of_the_first(stretches), self._steps)
        except ValueError as error:
            raise BagError(f"{recording.path}: {error}") from error

    def write(self, path: str, simulated: np.ndarray) -> None:
        """Write the newest recording's first robot for Rerun; arguments and errors as of `rerun_file.write`."""
        from ant_rl_tools.report import rerun_file  # Rerun is left out where nobody wants it
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "imagined.rrd"
            rerun_file.write(str(whole), self._beside, simulated, self._steps)
            write_atomically(path, whole.read_bytes())

    def _of_the_first(self, stretches: Sequence[Stretch]) -> list[Stretch]:
        return [each.part(0, self._ticks - each.tick) for each in stretches
                if each.row == 0 and each.tick < self._ticks]
