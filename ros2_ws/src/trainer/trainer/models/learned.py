"""The learned model of the Ant: an ensemble behind the contract of `EnvironmentModel`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ant_rl_core.spec import ANT
from trainer.models import kinematics
from trainer.models.data.rows import Rows
from trainer.models.ensemble import Ensemble, EnsembleConfig
from trainer.models.interface import Moment, start
from trainer.models.kinematics import STATE_SIZE

INPUTS = STATE_SIZE + ANT.action_size
# Of a prediction: change of the state, displacement along x and y, contact; after these the reward, where it is
# learned.
_DISPLACEMENT = slice(STATE_SIZE, STATE_SIZE + 2)
_CONTACT = STATE_SIZE + 2
_REWARD = STATE_SIZE + 3
# Imagined states stay within so many standard deviations of the data: a rollout that diverges gives no NaN.
STATE_CLIP = 10.0


class LearnedModel:
    """Predicts by an ensemble; see `EnvironmentModel`.

    `step` takes the mean of the members, which is smooth and the most accurate; `step_in_turn` one member for each row.

    Args:
        config: of the ensemble.
        seed: of its first weights.
    """

    def __init__(self, config: EnsembleConfig, seed: int | np.random.SeedSequence = 0) -> None:
        self.ensemble = Ensemble(config, INPUTS, STATE_SIZE + 3 + config.reward_head, seed)

    def begin(self, observation: tf.Tensor, branches: int = 1) -> Moment:
        """As `EnvironmentModel.begin`."""
        moment = start(tf.convert_to_tensor(observation, tf.float32), branches)
        return moment._replace(reward=tf.zeros_like(moment.contact)) if self.ensemble.config.reward_head else moment

    def step(self, moment: Moment, action: tf.Tensor) -> Moment:
        """As `EnvironmentModel.step`; differentiable."""
        mean = self.ensemble.predict(self.inputs(moment.state, action)).mean
        return self._after(moment, tf.reduce_mean(mean, axis=0))

    def step_in_turn(self, moment: Moment, action: tf.Tensor, turn: int = 0, noise: tf.Tensor | None = None) -> Moment:
        """As `step`, of one member for each row: of the r rows, member e has a share of r / E, another one each turn.

        A step then costs one network instead of E (trajectory sampling TS1 of PETS, arXiv:1805.12114, in shares).

        Args:
            moment, action: of r rows, a multiple of the members.
            turn: which time this is: row i has member (i // (r / E) + turn) % E.
            noise: standard normal float32 [r, outputs], scaled by what the members say they may be off and added; None:
                none.
        """
        members = self.ensemble.config.members
        inputs = self.inputs(moment.state, action)
        shares = tf.roll(tf.reshape(inputs, (members, -1, INPUTS)), turn, axis=0)
        found = self.ensemble.predict(shares)
        outputs = found.mean if noise is None else found.mean + found.std * tf.roll(
            tf.reshape(noise, (members, -1, self.ensemble.outputs)), turn, axis=0)
        return self._after(moment, tf.reshape(tf.roll(outputs, -turn, axis=0), (-1, self.ensemble.outputs)))

    def spread(self, state: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
        """How far the members disagree on rows [r, 27], [r, 8]: [r], see `Ensemble.spread`."""
        return self.ensemble.spread(self.inputs(state, action))

    @staticmethod
    def inputs(state: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
        """What the networks take, [r, 35]."""
        return tf.concat([state, action], axis=-1)

    def targets(self, rows: Rows) -> np.ndarray:
        """What the networks are to give for rows, float32 [m, outputs]."""
        outcome = rows.outcome()
        return np.concatenate([outcome, rows.reward[:, None]], axis=1) if self.ensemble.config.reward_head else outcome

    def _after(self, moment: Moment, outputs: tf.Tensor) -> Moment:
        mean, std = (scale[:STATE_SIZE] for scale in self.ensemble.input_scale)
        state = tf.clip_by_value(moment.state + outputs[:, :STATE_SIZE], mean - STATE_CLIP * std,
                                 mean + STATE_CLIP * std)
        displacement = outputs[:, _DISPLACEMENT]
        return Moment(kinematics.with_unit_quaternion(state), moment.place + displacement, displacement,
                      tf.maximum(outputs[:, _CONTACT], 0.0),
                      outputs[:, _REWARD] if self.ensemble.config.reward_head else None)
