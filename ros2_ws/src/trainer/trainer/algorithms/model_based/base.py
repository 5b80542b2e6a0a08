"""What methods share that learn a model of the Ant beside SAC's actor and critics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np

from ant_rl_core.settings import changed, setting
from ant_rl_core.spec import ANT
from ant_rl_core.step import Transition
from trainer.algorithms.model_based.networks import StateNetworks
from trainer.algorithms.off_policy.inputs import PlainNetworks
from trainer.algorithms.off_policy.sac import SAC, SACConfig
from trainer.checkpoint import Part
from trainer.models.ensemble import EnsembleConfig
from trainer.models.kinematics import STATE_SIZE, ops, state_of
from trainer.models.learned import LearnedModel
from trainer.models.learner import ModelLearner, ModelLearnerConfig


@dataclass(frozen=True)
class ModelBasedConfig(SACConfig, EnsembleConfig, ModelLearnerConfig):
    """Settings of methods that learn from a model of the environment beside what happened."""

    embedding_size: int = changed(0)
    actor_interval: int = changed(1)
    critic_layer_norm: bool = changed(True)
    initial_temperature: float = changed(0.1)
    learning_starts: int = changed(2500)
    replay_capacity: int = changed(300_000)
    normalize_observations: bool = changed(True)
    observation_min_std: float = changed(0.01)
    # Deeper networks, or ones that decay less, learn a few thousand transitions by heart: after 10,000 steps 0.34 of
    # the variance of what is held out was left instead of 0.21.
    model_hidden: tuple[int, ...] = changed((256, 256))
    model_weight_decay: float = changed(0.5)
    held_out_ticks: int = changed(25)
    model_interval: int = setting(1000, "environment steps from one fit of the model to the next", minimum=1)
    model_batches: int = setting(1000, "gradient steps of the model at each fit, at most", minimum=1)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield self.embedding_size == 0, "embedding_size must be 0: models imagine no embeddings"
        yield not self.critic_batch_renorm, "critic_batch_renorm must be false: its critics have no targets"
        yield (self.learning_starts >= self.pieces * self.held_out_ticks,
               "learning_starts must be at least held_out_ticks / held_out_share, or nothing is held out for the model")


class ModelBasedSAC(SAC):
    """SAC with a learned model beside it, fitted anew every `model_interval` steps; a method adds its gradient step.

    Attributes:
        model: the learned one.
        model_learner: what fits it.
    """

    config: ModelBasedConfig

    def __init__(self, config: ModelBasedConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = ANT.name) -> None:
        if config.learning_starts < num_envs * config.pieces * config.held_out_ticks:
            raise ValueError(f"learning_starts must be at least {num_envs} robots * held_out_ticks / held_out_share, "
                             f"found {config.learning_starts}: a model is judged on what is held out")
        if (observation_size < STATE_SIZE) or action_size != ANT.action_size:
            raise ValueError(f"{self.name} imagines the {ANT.name} with its {ANT.action_size} joints, found a robot "
                             f"of {observation_size} numbers and {action_size} joints: use another method")
        super().__init__(config, num_envs, observation_size, action_size, seed, robot)
        streams = np.random.SeedSequence((seed, 1)).spawn(2)  # of their own: what SAC draws stays SAC's
        network = EnsembleConfig(**{each.name: getattr(config, each.name) for each in fields(EnsembleConfig)})
        self.model = LearnedModel(network, streams[0])
        self.model_learner = ModelLearner(self.model, config, num_envs, streams[1])
        self._fitted = 0  # environment steps at the last fit

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity."""
        super().observe(batch)
        self.model_learner.observe(batch)

    def update(self) -> dict[str, float]:
        """Fit the model where it is due, then make the gradient steps owed for one tick."""
        fitted: dict[str, float] = {}
        if not self._fitted or self.env_steps - self._fitted >= self.config.model_interval:
            self._fitted = self.env_steps
            fitted = {**self.model_learner.fit(self.config.model_batches), **self._refitted()}
        return {**super().update(), **fitted}

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        model = {f"model_{name}": array for name, array in self.model_learner.save().items()}
        return {**super().save(), **model, "fitted": np.asarray(self._fitted)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        super().restore(state)
        self.model_learner.restore(Part(state, "model_"))
        self._fitted = int(state["fitted"])

    def _refitted(self) -> dict[str, float]:
        """The model has changed; returns figures of what follows from that."""
        return {}

    def _make_networks(self) -> PlainNetworks:
        return StateNetworks(self.config, self.observation_size, self.action_size)

    def _learned(self) -> list[keras.Variable]:
        return [*self.model_learner.variables(), *super()._learned()]

    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation by which states are normalized now, float32 [27] each."""
        normalizer = self.experience.normalizer
        if normalizer is None:
            return np.zeros(STATE_SIZE, np.float32), np.ones(STATE_SIZE, np.float32)
        return (state_of(normalizer.mean).astype(np.float32), np.sqrt(state_of(normalizer.variance)).astype(np.float32))

    def _seen(self, state: Any, mean: Any, std: Any) -> Any:
        """States [m, 27] as actor and critics take them, normalized by this mean and standard deviation."""
        clip = self.config.observation_clip if self.experience.normalizer is not None else np.inf
        return ops(state).clip((state - mean) / std, -clip, clip)
