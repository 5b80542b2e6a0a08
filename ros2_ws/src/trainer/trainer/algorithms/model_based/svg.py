"""SAC whose actor and critics learn from steps imagined in a learned model (Kubo et al., arXiv:2512.15439)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ant_rl_core.settings import setting
from trainer.algorithms.model_based.base import ModelBasedConfig, ModelBasedSAC
from trainer.models.interface import Array, Moment
from trainer.models.kinematics import state_of
from trainer.models.learned import LearnedModel
from trainer.models.rollout import imagine
from trainer.networks import weights

METRICS = ("critic_loss", "q_value", "actor_loss", "entropy", "temperature", "imagined_reward", "imagined_ends",
           "actor_gradient")


@dataclass(frozen=True)
class SVGConfig(ModelBasedConfig):
    """Settings of SAC through the model."""

    horizon: int = setting(5, "H, imagined steps that values and their gradients go through; 0 for none: SAC",
                           minimum=0, maximum=50)
    real_share: float = setting(0.5, "share of the critics' loss that is of transitions as they happened", minimum=0,
                                maximum=1)
    model_noise: float = setting(1.0, "imagined steps are disturbed by this multiple of what the model errs by: "
                                 "without, the imagined robot is steadier than the real one", minimum=0)
    max_gradient_norm: float = setting(10.0, "the actor's gradient is shortened to this length", above=0)
    value_quantile: float = setting(0.01, "imagined targets stay between what this quantile of the rewards would sum "
                                    "up to for ever, or 0, and what the quantile as far from the top would",
                                    minimum=0, below=0.5)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (self.horizon == 0 or self.batch_size % self.members == 0,
               "batch_size must be a multiple of members, which take turns on its rows")


class Dream(NamedTuple):
    """What the present policy is imagined to do in H steps from m states; lists over time.

    Attributes:
        state: s_0 … s_H, float32 [m, 27] each; after an imagined end that before it.
        action: a_0 … a_H, [m, action_size] each.
        log_prob: of these, [m] each.
        reward: r_0 … r_H-1, [m] each, 0 after an end.
        alive: 1 where s_0 … s_H are reached, 0 after an end, [m] each.
    """

    state: list[tf.Tensor]
    action: list[tf.Tensor]
    log_prob: list[tf.Tensor]
    reward: list[tf.Tensor]
    alive: list[tf.Tensor]

    def values(self, last: tf.Tensor, temperature: tf.Tensor, discount: float) -> list[tf.Tensor]:
        """What a_0 … a_H in s_0 … s_H are worth [m], rewards and entropies to come, where a_H is worth `last`."""
        found = [last]
        for i in reversed(range(len(self.reward))):
            to_come = found[-1] - temperature * self.log_prob[i + 1]
            found.append(self.reward[i] + discount * self.alive[i + 1] * to_come)
        return found[::-1]


class SVG(ModelBasedSAC):
    """Learner for `num_envs` robots; see `SVGConfig`.

    From each state that is drawn the present policy is imagined for H steps; after each, the next of the model's
    networks takes over the rows of the one before. The actor climbs the imagined rewards, its entropies and the smaller
    critic where the rollout ends, by the gradient through the model (Heess et al., arXiv:1510.09142; Amos et al.,
    arXiv:2008.12775). The critics learn the same sums of the policy's action, with their targets at the end, and beside
    them one-step targets of what was done, SAC's.

    Differs from the paper in: rollouts start from states as they happened, not from
    imagined ones; half of the critics' loss is of what happened; the actor climbs the smaller critic; targets are
    bounded by quantiles of the rewards; two critics instead of five, four networks of the model instead of eight, which
    are fitted by a fifth of the gradient steps; the reward and the end of an episode are computed, not learned.
    """

    name = "svg"
    config: SVGConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = np.array([-np.inf, np.inf], np.float32)
        self._learn = self._compiled(self._step)

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**super().save(), "value_bounds": self._bounds}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        super().restore(state)
        self._bounds = state["value_bounds"].copy()

    def _refitted(self) -> dict[str, float]:
        replay = self.experience.replay
        rewards = replay.reward[:replay.size // self.num_envs]
        low, high = np.quantile(rewards, [self.config.value_quantile, 1 - self.config.value_quantile])
        endless = 1 - self.config.discount
        self._bounds = np.array([min(0.0, low) / endless, high / endless], np.float32)
        return {"value_bound": float(self._bounds[1])}

    def _gradient_step(self) -> dict[str, float]:
        batch = self.experience.draw_as_observed()
        noise = self.rng.standard_normal((2 + self.config.horizon, *batch.action.shape), np.float32)
        model_noise = self.rng.standard_normal((self.config.horizon, len(noise[0]), self.model.ensemble.outputs),
                                               np.float32)
        metrics, error = self._learn(state_of(batch.observation), batch.action, batch.reward, batch.discount,
                                     state_of(batch.next_observation), batch.weight, noise, model_noise, self._bounds,
                                     *self._scale())
        self.experience.prioritize(batch, error.numpy() + 1e-6)
        return dict(zip(METRICS, metrics.numpy().tolist(), strict=True))

    # -- the compiled part -------------------------------------------------------------------------------------------

    def _step(self, state: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor, next_state: tf.Tensor,
              weight: tf.Tensor, noise: tf.Tensor, model_noise: tf.Tensor, bounds: tf.Tensor, mean: tf.Tensor,
              std: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of the critics, whose targets follow, and one of actor and temperature.

        Args:
            state, next_state: float32 [m, 27], as observed.
            action, reward, discount, weight: as of `ReplayBatch`.
            noise: standard normal [2 + H, m, action_size], of the actions after what happened and of the imagined ones.
            model_noise: standard normal [H, m, outputs], of the imagined steps.
            bounds: least and largest imagined target, [2].
            mean, std: by which states are normalized, [27] each.

        Returns:
            `METRICS`, and the larger error of each row that happened [m].
        """
        config, temperature = self.config, tf.exp(self.log_temperature.value)

        def seen(x: tf.Tensor) -> tf.Tensor:
            return self._seen(x, mean, std)

        with tf.GradientTape() as tape:
            dream = self._dream(state, lambda x, i: self._sample(seen(x), noise[1 + i]),
                                config.model_noise * model_noise)
            with tape.stop_recording():
                next_action, next_log_prob = self._sample(seen(next_state), noise[0])
                to_come = self._smaller(seen(next_state), next_action, self.target_critics)
                to_come -= temperature * next_log_prob
                last = self._smaller(seen(dream.state[-1]), dream.action[-1], self.target_critics)
                imagined = tf.clip_by_value(dream.values(last, temperature, config.discount)[0], bounds[0], bounds[1])
                metrics, error = self._critics_step(seen(state), (action, dream.action[0]),
                                                    (reward + discount * to_come, imagined), weight)
            last = self._smaller(seen(dream.state[-1]), dream.action[-1])
            actor_loss = tf.reduce_mean(temperature * dream.log_prob[0]
                                        - dream.values(last, temperature, config.discount)[0])
        gradients = tape.gradient(actor_loss, [v.value for v in self._actor_variables])
        gradients, length = tf.clip_by_global_norm(gradients, config.max_gradient_norm)
        self.actor_optimizer.apply(gradients, self._actor_variables)
        entropy = self._steer(dream.log_prob[0])
        mean_reward = _total(dream.reward) / tf.maximum(1.0, _total(dream.alive[:-1]))
        return tf.stack([*metrics, actor_loss, entropy, temperature, mean_reward, 1.0 - tf.reduce_mean(dream.alive[-1]),
                         length]), error

    def _dream(self, state: tf.Tensor, sample: Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]],
               noise: tf.Tensor) -> Dream:
        """Imagine the policy from states [m, 27].

        Args:
            state: where it begins.
            sample: gives actions and their log-probabilities in states at step i.
            noise: [H, m, outputs], see `LearnedModel.step_in_turn`.
        """
        samples: list[tuple[tf.Tensor, tf.Tensor]] = []

        def policy(moment: Moment) -> tf.Tensor:
            samples.append(sample(moment.state, len(samples)))
            return samples[-1][0]

        horizon = self.config.horizon
        found = imagine(_InTurn(self.model, noise), policy, state, horizon) if horizon else None
        last = state if found is None else found.last.state
        policy(Moment(last, *(None,) * 3))
        actions, log_probs = map(list, zip(*samples, strict=True))
        if found is None:
            return Dream([state], actions, log_probs, [], [tf.ones_like(state[:, 0])])
        ended = found.alive[-1][0] * (1.0 - found.terminated[-1][0])
        return Dream([*(x[0] for x in found.state), last], actions, log_probs, [x[0] for x in found.reward],
                     [*(x[0] for x in found.alive), ended])

    def _critics_step(self, state: tf.Tensor, actions: tuple[tf.Tensor, tf.Tensor],
                      targets: tuple[tf.Tensor, tf.Tensor],
                      weight: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """One gradient step of both critics, after which the targets follow.

        Args:
            state: of m rows, as critics take them.
            actions: what was done there, and what the policy is imagined to do.
            targets: what these are worth.
            weight: of the rows, for what was done.

        Returns:
            Loss and value, and the larger error of each row, both of what was done.
        """
        share = self.config.real_share if self.config.horizon else 1.0
        weights_of = (share * weight, (1.0 - share) * tf.ones_like(weight))
        taken = self.networks.with_action(tf.concat([state, state], 0), tf.concat(actions, 0))
        with tf.GradientTape() as tape:
            values = [critic(taken)[:, 0] for critic in self.critics]
            errors = [value - tf.concat(targets, 0) for value in values]
            loss = 2.0 * tf.add_n([tf.reduce_mean(tf.concat(weights_of, 0) * tf.square(error)) for error in errors])
        gradients = tape.gradient(loss, [v.value for v in self._critic_variables])
        self.critic_optimizer.apply(gradients, self._critic_variables)
        weights.follow(self._target_variables, self._critic_variables, self.config.target_share)
        count = tf.shape(weight)[0]
        return [loss, tf.reduce_mean(values[0][:count])], tf.maximum(*(tf.abs(error[:count]) for error in errors))


def _total(parts: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(part) for part in parts]) if parts else tf.zeros(())


class _InTurn:
    """A learned model whose networks take turns on the rows, one rollout long; see `LearnedModel.step_in_turn`."""

    def __init__(self, model: LearnedModel, noise: tf.Tensor) -> None:
        self._model, self._noise, self._turn = model, noise, -1

    def begin(self, observation: Array, branches: int = 1) -> Moment:
        return self._model.begin(observation, branches)

    def step(self, moment: Moment, action: Array) -> Moment:
        self._turn += 1
        return self._model.step_in_turn(moment, action, self._turn, self._noise[self._turn])
