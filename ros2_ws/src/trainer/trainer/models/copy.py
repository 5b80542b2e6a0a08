"""The copy model: what imagination is worth where nothing is imagined."""

from __future__ import annotations

from ant_rl_core.spec import ANT
from trainer.models import kinematics
from trainer.models.interface import Array, Moment, start


class CopyModel:
    """Nothing changes, whatever is done, and the torso moves on as fast as it did; see `EnvironmentModel`."""

    begin = staticmethod(start)

    def step(self, moment: Moment, action: Array) -> Moment:
        """As `EnvironmentModel.step`."""
        displacement = moment.state[:, kinematics.VELOCITY] * ANT.control_period
        return moment._replace(place=moment.place + displacement, displacement=displacement)
