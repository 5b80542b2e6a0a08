"""What off-policy learners share: everything but their networks and what a gradient step does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.exploration import Exploration, explore
from ant_rl_core.settings import setting
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, guard
from trainer.algorithms.off_policy.experience import Experience, OffPolicyConfig
from trainer.export.policy_graph import PolicyGraph
from trainer.metrics import mean_metrics
from trainer.networks import weights


@dataclass(frozen=True)
class OffPolicyActorCriticConfig(OffPolicyConfig):
    """Settings of methods with an actor, critics and targets that follow them."""

    actor_learning_rate: float = setting(3e-4, "step size of Adam for the actor", above=0)
    critic_learning_rate: float = setting(3e-4, "step size of Adam for the critics", above=0)
    target_share: float = setting(0.005, "how far the target networks follow the learned ones each time",
                                  above=0, maximum=1)
    actor_hidden: tuple[int, ...] = setting((256, 256), "sizes of the actor's hidden layers", minimum=1)
    critic_hidden: tuple[int, ...] = setting((256, 256), "sizes of the critics' hidden layers", minimum=1)
    embedding_size: int = setting(0, "entries of the learned embeddings of observations and actions (SALE) that actor "
                                  "and critics take as further inputs; 0 for none", minimum=0)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (not self.embedding_size or bool(self.actor_hidden and self.critic_hidden),
               "embedding_size must be 0 without hidden layers")


class OffPolicyLearner:
    """Learner from replay, see `contracts.Learner`; a method adds its networks and the part below "of each method".

    Args:
        config: settings of the method.
        num_envs, observation_size, action_size: sizes.
        seed: of everything that is random.
        robot: name of the robot, for the bundle.
        network_streams: how many random streams the networks take.

    Attributes:
        noise: of the actions.
        rng: of the gradient steps.
    """

    name: str
    on_policy = False
    _graph: PolicyGraph

    def __init__(self, config: OffPolicyConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str, network_streams: int) -> None:
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.observation_size, self.action_size = observation_size, action_size
        *self._network_streams, replay_seed, noise_seed, rng_seed = np.random.SeedSequence(seed).spawn(
            network_streams + 3)
        # Two streams: what is learned from given transitions does not depend on who acted in them.
        self.noise, self.rng = np.random.default_rng(noise_seed), np.random.default_rng(rng_seed)
        self.experience = Experience(config, num_envs, observation_size, action_size, replay_seed)
        self.version = 1

    @property
    def env_steps(self) -> int:
        """Transitions observed."""
        return self.experience.env_steps

    # -- acting ------------------------------------------------------------------------------------------------------

    def initial_state(self, num_envs: int) -> tuple[()]:
        """Nothing: the networks are feed-forward."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Exploring actions of the live policy; see `Actor`."""
        outputs = self._outputs(tf.constant(self.experience.normalize(observation)))
        action, extras = explore(self._exploration(), {name: x.numpy() for name, x in outputs.items()}, self.noise)
        return action, extras, state

    def value(self, observation: np.ndarray) -> np.ndarray:
        """float32 [n]: what the critics give for the best action known, for observations as the environment gives them.

        Of two critics it is the smaller value, where their method learns from that.
        """
        return self._value(tf.constant(self.experience.normalize(observation))).numpy()

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity."""
        self.experience.observe(batch)

    def ready(self) -> bool:
        """Whether gradient steps are owed."""
        return self.experience.owed() > 0

    def update(self) -> dict[str, float]:
        """Make the gradient steps owed for one tick; returns the means of their metrics by name."""
        metrics = mean_metrics([self._gradient_step() for _ in range(self.experience.owed())])
        guard.check(metrics, self._learned(), self.env_steps)
        self.version += 1
        return metrics

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        about = {"config": asdict(self.config), "env_steps": self.env_steps, **(provenance or {})}
        return self._graph.bundle(algorithm=self.name, robot=self.robot, version=self.version,
                                  exploration=self._exploration(), provenance=about)

    def renumber(self, version: int) -> None:
        """Let the present policy have this version; those to come go on from it."""
        self.version = version

    def weights(self) -> dict[str, np.ndarray]:
        """The variables of networks and optimizers as named arrays."""
        return weights.pack("variable_", self._state())

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**self.weights(), **self.experience.save(), "noise": checkpoint.pack_generator(self.noise),
                "rng": checkpoint.pack_generator(self.rng), "version": np.asarray(self.version)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        weights.unpack("variable_", self._state(), state)
        self.experience.restore(state)
        checkpoint.unpack_generator(self.noise, state["noise"])
        checkpoint.unpack_generator(self.rng, state["rng"])
        self.version = int(state["version"])

    # -- of each method ----------------------------------------------------------------------------------------------

    # Made by the method's constructor with `_by_row`, both for normalized observations [n, observation_size]: what the
    # policy's graph gives, and see `value`.
    _outputs: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    _value: Callable[[tf.Tensor], tf.Tensor]

    def _exploration(self) -> Exploration:
        """How the policy explores now."""
        raise NotImplementedError

    def _gradient_step(self) -> dict[str, float]:
        """Draw a batch and make one gradient step; returns its metrics by name."""
        raise NotImplementedError

    def _learned(self) -> list[keras.Variable]:
        """The variables to look through, in this order, once a metric was lost."""
        raise NotImplementedError

    def _state(self) -> list[keras.Variable]:
        """All variables, of networks and optimizers, in the order of the checkpoint."""
        raise NotImplementedError

    # -- for each method ---------------------------------------------------------------------------------------------

    def _compiled(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A gradient step as one call; by XLA in float32, as that does not know the units for bfloat16."""
        return tf.function(step, jit_compile=self.config.precision == "float32", autograph=False)

    def _by_row(self, function: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
        """A function of observations as one call, for any number of rows."""
        rows = [tf.TensorSpec((None, self.observation_size), tf.float32)]
        return tf.function(function, input_signature=rows, autograph=False)


def trained_by_adam(variables: list[keras.Variable], learning_rate: float,
                    momentum: float = 0.9) -> keras.optimizers.Adam:
    """Adam for these variables, with its state made; `momentum` is its beta_1."""
    optimizer = keras.optimizers.Adam(learning_rate, momentum)
    optimizer.build(variables)
    return optimizer


def variables_of(networks: list[keras.Model] | tuple[keras.Model, ...]) -> list[keras.Variable]:
    """The trainable variables of several networks, one after the other."""
    return [v for network in networks for v in network.trainable_variables]
