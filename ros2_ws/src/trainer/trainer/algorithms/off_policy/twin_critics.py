"""What methods with two critics share: their settings and those critics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import setting
from trainer.algorithms.off_policy.base import OffPolicyActorCriticConfig
from trainer.algorithms.off_policy.inputs import PlainNetworks, networks_for
from trainer.networks.mlp import first_seed


@dataclass(frozen=True)
class TwinCriticConfig(OffPolicyActorCriticConfig):
    """Settings of methods with two critics."""

    critic_layer_norm: bool = setting(False, "normalize the sums of the critics' hidden layers")
    critic_batch_renorm: bool = setting(False, "normalize the inputs of the critics' layers over batches in which "
                                        "present and next actions stand side by side, and do without target critics, "
                                        "as CrossQ")
    actor_interval: int = setting(1, "critic updates per update of the actor and what goes with it", minimum=1)
    momentum: float = setting(0.9, "beta_1 of Adam for actor and critics", minimum=0, below=1)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (not (self.embedding_size and (self.critic_layer_norm or self.critic_batch_renorm)),
               "embedding_size must be 0 with critic_layer_norm or critic_batch_renorm")


def twin_networks(config: TwinCriticConfig, observation_size: int, action_size: int,
                streams: list[np.random.SeedSequence]) -> PlainNetworks:
    """What actor and critics of these settings take, see `networks_for`."""
    return networks_for(config, observation_size, action_size, streams, momentum=config.momentum,
                  critic={"layer_norm": config.critic_layer_norm, "batch_renorm": config.critic_batch_renorm})


def twin_critics(taken: PlainNetworks, config: TwinCriticConfig,
                 streams: list[np.random.SeedSequence]) -> tuple[list[keras.Model], list[keras.Model]]:
    """Two critics, and their targets; with `critic_batch_renorm` there are no targets."""
    critics, targets = ([taken.critic(first_seed(stream), f"{name}_{i}") for i, stream in enumerate(streams)]
                        for name in ("critic", "target_critic"))
    return critics, [] if config.critic_batch_renorm else targets


def paired_values(critics: list[keras.Model], targets: list[keras.Model], taken: Any,
                  following: Any) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Values [m] of what was done by each critic, and of what comes next by each target.

    Without targets the critics give both, in one pass, so that both are normalized alike (CrossQ: Bhatt et al.,
    arXiv:1902.05605); they learn from what they give, so the caller stops the gradient of the second ones.

    Args:
        critics, targets: of `twin_critics`.
        taken, following: what critics take, see `PlainNetworks.with_action`.
    """
    if targets:
        return [critic(taken)[:, 0] for critic in critics], [target(following)[:, 0] for target in targets]
    both = tf.concat([taken, following], axis=0)
    pairs = [tf.split(critic(both, training=True)[:, 0], 2) for critic in critics]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
