"""Decoupled Q-learning (Seyde et al., Solving Continuous Control via Q-learning, arXiv:2210.12566)."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.exploration import Exploration, torque_levels
from ant_rl_core.settings import changed, setting
from trainer.algorithms.off_policy.base import OffPolicyLearner, trained_by_adam, variables_of
from trainer.algorithms.off_policy.experience import OffPolicyConfig
from trainer.export import policy_graph
from trainer.networks import weights
from trainer.networks.mlp import first_seed, mlp

METRICS = ("critic_loss", "q_value", "gradient_norm")


@dataclass(frozen=True)
class DQNConfig(OffPolicyConfig):
    """Settings of decoupled Q-learning."""

    learning_starts: int = changed(5_000)
    prioritized: bool = changed(True)
    n_step: int = changed(3)
    levels: int = setting(3, "evenly spaced torques that each joint chooses from", minimum=2)
    max_torque: float = setting(0.35, "the largest of them, the least is its negative; 1 is all that the joints give",
                                above=0, maximum=1)
    learning_rate: float = setting(1e-4, "step size of Adam", above=0)
    target_share: float = setting(0.005, "how far the target networks follow the learned ones at each update",
                                  above=0, maximum=1)
    clipped_double: bool = setting(True, "learn from the smaller of the two targets' values instead of their mean")
    epsilon: float = setting(0.05, "probability, per joint and step, of a random level", minimum=0, maximum=1)
    huber_threshold: float = setting(100.0, "errors beyond it count linearly in the loss, smaller ones by their square",
                                     above=0, finite=False)
    max_gradient_norm: float = setting(400.0, "longer gradients are shortened to this norm", above=0, finite=False)
    hidden: tuple[int, ...] = setting((256, 256), "sizes of the hidden layers", minimum=1)
    layer_norm: bool = setting(True, "normalize the first hidden layer")


class DQN(OffPolicyLearner):
    """Learner for `num_envs` robots; see `DQNConfig`.

    A critic gives a value to every torque level of every joint, and the mean over the joints of the levels taken is
    the value of the action. So the best action is the best level of each joint, found without trying their
    combinations. Two critics learn from one target: the value that their target networks give (the smaller one) for the
    levels that are best for the mean of the learned ones (double Q-learning).

    Differs from the paper in: the smaller of the targets' values instead of their mean (Fujimoto et al.,
    arXiv:1802.09477), as the mean rises and rises with a gradient step for every environment step instead of every
    eighth; squares of errors up to 100 instead of 1, and a longest gradient to go with it, since counting errors
    linearly makes values medians rather than means, which know nothing of a fall that is less likely than not; layers
    of 256 instead of 512, random levels half as often, torques of at most about a third, targets that follow a little
    at every update instead of copies after every 100, both critics choosing levels together, and random levels alone in
    the first `learning_starts` = 5,000 steps.
    """

    name = "dqn"
    config: DQNConfig

    def __init__(self, config: DQNConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        super().__init__(config, num_envs, observation_size, action_size, seed, robot, network_streams=2)

        def critics(name: str) -> list[keras.Model]:
            return [mlp(observation_size, config.hidden, action_size * config.levels, activation="relu",
                        seed=first_seed(stream), layer_norm=(0,) if config.layer_norm else (),
                        precision=config.precision, name=f"{name}_{i}")
                    for i, stream in enumerate(self._network_streams)]

        def mean(models: list[keras.Model]) -> keras.Model:
            inputs = keras.Input((observation_size,), dtype="float32")
            return keras.Model(inputs, keras.layers.average([model(inputs) for model in models]))

        self.critics, self.target_critics = critics("critic"), critics("target_critic")
        self.mean = mean(self.critics)
        self._variables, self._target_variables = map(variables_of, (self.critics, self.target_critics))
        self.optimizer = trained_by_adam(self._variables, config.learning_rate)
        self._learn = self._compiled(self._critic_step)
        self._graph = policy_graph.greedy_graph(self.mean, config.levels, self.experience.normalizer, config.max_torque)
        self._outputs = self._by_row(lambda x: {"action": self._greedy_action(x)})
        self._value = self._by_row(self._state_value)

    def _exploration(self) -> Exploration:
        epsilon = 1.0 if self.experience.warming_up else self.config.epsilon
        return Exploration("epsilon_greedy", epsilon, self.config.levels, self.config.max_torque)

    def _values(self, model: keras.Model, observation: tf.Tensor) -> tf.Tensor:
        """Value of each level of each joint, [m, action_size, levels]."""
        return tf.reshape(model(observation), (-1, self.action_size, self.config.levels))

    def _greedy_action(self, observation: tf.Tensor) -> tf.Tensor:
        best = tf.argmax(self._values(self.mean, observation), axis=2)
        return tf.gather(tf.constant(torque_levels(self.config.levels, self.config.max_torque)), best)

    def _state_value(self, observation: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.reduce_max(self._values(self.mean, observation), axis=2), axis=1)

    def _learned(self) -> list[keras.Variable]:
        return self._variables

    def _state(self) -> list[keras.Variable]:
        return [*self._variables, *self._target_variables, *weights.of_optimizer(self.optimizer)]

    def _gradient_step(self) -> dict[str, float]:
        batch = self.experience.draw()
        highest = self.config.levels - 1
        nearest = np.rint((batch.action / self.config.max_torque + 1.0) * (0.5 * highest))
        level = np.clip(nearest, 0, highest).astype(np.int32)
        metrics, error = self._learn(batch.observation, level, batch.reward, batch.discount, batch.next_observation,
                                     batch.weight)
        self.experience.prioritize(batch, error.numpy() + 1e-6)
        return dict(zip(METRICS, metrics.numpy().tolist(), strict=True))

    def _critic_step(self, observation: tf.Tensor, level: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
                     next_observation: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of both critics, which the targets follow; returns `METRICS` and mean errors [m]."""
        config = self.config
        best = tf.argmax(self._values(self.mean, next_observation), axis=2)
        following = [self._of_action(self._values(critic, next_observation), best) for critic in self.target_critics]
        following = tf.minimum(*following) if config.clipped_double else tf.add_n(following) / len(following)
        target = reward + discount * following
        with tf.GradientTape() as tape:
            values = [self._of_action(self._values(critic, observation), level) for critic in self.critics]
            errors = [tf.abs(value - target) for value in values]
            loss = tf.add_n([tf.reduce_mean(weight * _huber(error, config.huber_threshold)) for error in errors])
        gradients = tape.gradient(loss, [v.value for v in self._variables])
        gradients, norm = tf.clip_by_global_norm(gradients, config.max_gradient_norm)
        self.optimizer.apply(gradients, self._variables)
        weights.follow(self._target_variables, self._variables, config.target_share)
        return tf.stack([loss, tf.reduce_mean(values[0]), norm]), tf.add_n(errors) / len(errors)

    def _of_action(self, values: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Value of an action [m]: the mean over the joints of the values of their levels."""
        taken = tf.one_hot(level, self.config.levels)
        return tf.reduce_sum(values * taken, axis=(1, 2)) / self.action_size


def _huber(error: tf.Tensor, threshold: float) -> tf.Tensor:
    """Half the square of an error >= 0, continued as a straight line from the threshold on."""
    inside = tf.minimum(error, threshold)
    return inside * (error - 0.5 * inside)
