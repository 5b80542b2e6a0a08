"""What actor and critics of model-based methods take: the state that models imagine, not the whole observation."""

from __future__ import annotations

from typing import Any

import keras

from trainer.algorithms.off_policy.inputs import PlainNetworks
from trainer.algorithms.off_policy.twin_critics import TwinCriticConfig
from trainer.models import kinematics
from trainer.models.kinematics import STATE_SIZE


class StateNetworks(PlainNetworks):
    """Networks of SiLU layers that take the first 27 numbers of observations, of which there may be more.

    A gradient through several imagined steps needs smooth networks: with ReLU early learning is half as fast
    (arXiv:2512.15439).

    Args:
        config: settings of the method.
        observation_size, action_size: of the robot.
    """

    def __init__(self, config: TwinCriticConfig, observation_size: int, action_size: int) -> None:
        super().__init__(config, STATE_SIZE, action_size, {"activation": "silu"},
                         {"activation": "silu", "layer_norm": config.critic_layer_norm})
        self._given = observation_size

    def critic(self, seed: int, name: str) -> keras.Model:
        """See the base class; it begins at 0, and what its last layer gives is the value as a mean reward per step.

        Values are a hundred times as large, which that layer would need long to learn, and long to take back.
        """
        critic = super().critic(seed, name)
        critic.layers[-1].kernel.assign(keras.ops.zeros_like(critic.layers[-1].kernel))
        scaled = keras.layers.Rescaling(1 / (1 - self._config.discount), name=f"{name}_scale")(critic.output)
        return keras.Model(critic.inputs[0], scaled, name=name)

    def features(self, observation: Any) -> Any:
        """See the base class; of states [n, 27] themselves."""
        return kinematics.state_of(observation)

    def from_observations(self, actor: keras.Model) -> keras.Model:
        """See the base class."""
        observation = keras.Input((self._given,), dtype="float32")
        return keras.Model(observation, actor(self.features(observation)))
