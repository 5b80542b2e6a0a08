"""Teacher and student: what a policy that is told its task does is taught to one that finds its task out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from ant_env_node.tasks.distribution import TaskDistribution
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.settings import ArgumentError, Settings, setting
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, guard
from trainer.algorithms.meta.guided.choice import guide_for
from trainer.algorithms.meta.guided.directions import Directions
from trainer.algorithms.meta.guided.estimator import Estimator
from trainer.algorithms.meta.guided.experts import Expert, expert_for
from trainer.algorithms.meta.guided.foresight import Foresight
from trainer.algorithms.meta.guided.frozen import frozen_policy
from trainer.algorithms.meta.guided.heading import Delay, Heading
from trainer.algorithms.meta.guided.lessons import Lessons
from trainer.algorithms.meta.guided.lost_leg import LostLeg, LostLegs
from trainer.algorithms.meta.guided.pupil import Pupil
from trainer.algorithms.meta.kin import memory_id
from trainer.export.policy_graph import PolicyGraph
from trainer.networks import weights
from trainer.networks.mlp import first_seed
from trainer.networks.recurrent_actor import RecurrentActor
from trainer.networks.statistics import Normalizer

# Of tasks whose policy is to see more than the present observation tells.
_ESTIMATORS: Mapping[type, type[Estimator]] = {Heading: Directions, LostLeg: LostLegs}


@dataclass(frozen=True)
class GuidedRL2Config(Settings):
    """Settings of guided RL²."""

    total_steps: int = setting(200_000, "environment steps to learn from", minimum=1)
    student: str = setting("estimator", "what is taught: an estimator of the task in front of the teacher's policy, or "
                           "an actor that does what the teacher does", choices=("estimator", "actor"))
    teacher: str = setting("default", "policy that is used once the task is known: a bundle, or the name of a shipped "
                           "one", path=True)
    teacher_variant: str = setting(policy_bundle.FLOAT32, "which of its variants: float32, or a distilled one, which "
                                   "makes a small policy")
    round_length: int = setting(100, "ticks of a round; after each the student is taught", minimum=2)
    rounds_kept: int = setting(40, "rounds that are taught from, the newest", minimum=1)
    gradient_steps: int = setting(150, "gradient steps after each round", minimum=1)
    minibatch_rows: int = setting(16, "robots of a round per gradient step", minimum=1)
    newest_share: float = setting(0.4, "share of gradient steps from the newest round; the others are from any",
                                  minimum=0, maximum=1)
    learning_rate: float = setting(1e-3, "step size of Adam at the start", above=0)
    learning_rate_end: float = setting(0.1, "share of `learning_rate` that is left at `total_steps`; linear in between",
                                       minimum=0, maximum=1)
    max_gradient_norm: float = setting(1.0, "gradients are scaled down to this norm", above=0)
    teacher_share: float = setting(0.5, "share of the robots that the teacher drives in the first round; it falls to 0 "
                                   "over `teacher_rounds`", minimum=0, maximum=1)
    teacher_rounds: int = setting(5, "rounds in which the teacher drives some", minimum=1)
    noise: float = setting(0.2, "standard deviation of the noise on the actions of every other round", minimum=0)
    hidden: tuple[int, ...] = setting((128, 64), "sizes of the layers that see a tick", minimum=1)
    memory_size: int = setting(64, "of the recurrent memory (GRU)", minimum=1)
    foresight: tuple[int, ...] = setting((256, 256), "estimator of latency: sizes of the layers that foresee what "
                                         "will be when an action arrives", minimum=1)
    actor_hidden: tuple[int, ...] = setting((128, 128), "actor: sizes of the layers between memory and action",
                                            minimum=1)


class Student(Protocol):
    """What is taught.

    Attributes:
        expert: who knows the task; None where nobody can take over.
        variables: what is learned.
        graph: for bundles.
    """

    expert: Expert | None
    variables: list[keras.Variable]
    graph: PolicyGraph

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        """Zeros."""

    def act(self, observation: np.ndarray, previous: Previous,
            state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Actions float32 [n, action_size] and the state after."""

    def renew(self) -> None:
        """From now on act by what was learned."""

    def lesson(self, batch: Transition, previous: Previous) -> dict[str, np.ndarray]:
        """What of a tick is learned from, arrays [n, ...]; `previous` is without what was of other trials."""

    def begin(self, lessons: dict[str, np.ndarray]) -> None:
        """Set what is fixed by the first round, arrays [T, n, ...]."""

    def varied(self, lessons: dict[str, np.ndarray], order: np.random.Generator) -> dict[str, np.ndarray]:
        """Of lessons [T, n, ...], those that are learned from: they, or what is known from them of others."""

    def loss(self, lessons: dict[str, tf.Tensor], state: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Of consecutive lessons, each array [T, n, ...]; `first` among them tells where the memory begins anew."""

    def save(self) -> dict[str, np.ndarray]:
        """What a checkpoint must hold beside `variables`."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave, with `variables` as they were."""


class GuidedRL2:
    """Learner for `num_envs` robots; see `GuidedRL2Config`.

    A frozen policy that is told its task is an expert for it. A recurrent estimator of the task stands in front of it
    (the structure of RMA: Kumar et al., arXiv:2107.04034) and is taught on what happens while it drives itself (DAgger:
    Ross et al., arXiv:1011.0686), with the truth, which the environment tells a learner, as the label of each tick; or
    a recurrent actor is taught what the expert does. What is learned is exported as one graph with a state.

    Differs from the paper in: what is estimated is the task itself rather than a learned embedding of it, so any policy
    can stand behind it unchanged; the estimator makes products of what it saw and what was sent, and remembers without
    a fixed window; it is run at every tick.

    Args:
        tasks: what the robots are to find out.

    Raises:
        ArgumentError: tasks that it can't tell a policy.
        BundleError: a teacher that can't be used.
    """

    name = "guided_rl2"
    on_policy = True

    def __init__(self, config: GuidedRL2Config, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5", tasks: TaskDistribution | None = None) -> None:
        assert tasks is not None  # `Method.needs_tasks`
        self.config, self.num_envs, self.robot = config, num_envs, robot
        teacher = policy_bundle.read(resolve_policy(config.teacher))
        told = teacher.manifest.task_input
        teacher.check_robot(robot, observation_size + told, action_size)
        network_seed, acting_seed, order_seed = np.random.SeedSequence(seed).spawn(3)
        policy, guide = frozen_policy(teacher, config.teacher_variant), guide_for(tasks, bool(told))
        self._student: Student
        if config.student == "estimator":
            sizes = (observation_size, action_size, config.hidden, config.memory_size, network_seed)
            if isinstance(guide, Delay):
                self._student = Foresight(guide, policy, *sizes, config.foresight)
            else:
                self._student = _ESTIMATORS.get(type(guide), Estimator)(guide, policy, *sizes)
        elif type(guide) in _ESTIMATORS:
            raise ArgumentError(f"an actor can't be taught {tasks.name} yet, as the expert remembers its course: take "
                                "student:=estimator")
        else:
            actor = RecurrentActor(observation_size, action_size, seed=first_seed(network_seed),
                                   memory_size=config.memory_size, input_hidden=config.hidden,
                                   hidden=config.actor_hidden)
            self._student = Pupil(actor, expert_for(policy, guide), Normalizer(observation_size, clip=10.0,
                                                                             least_std=1e-2))
        self._memory_id = memory_id(self.name, seed, config, tasks.name)
        self._noise, self._order = np.random.default_rng(acting_seed), np.random.default_rng(order_seed)
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self._student.variables)
        self._lessons = Lessons(config.round_length, config.rounds_kept)
        self._led = np.zeros(num_envs, bool)
        self._task: np.ndarray | None = None  # of each row at the tick before
        self._round = 0
        self._gradient_step = tf.function(self._descend, jit_compile=True, autograph=False)
        self.env_steps, self.version = 0, 1
        self._begin_round()

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        """Zeros."""
        return self._student.initial_state(num_envs)

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """The student's actions, in some rows the teacher's, in some rounds with noise; see `Actor`.

        The teacher is told what the row's task was at the tick before, so the student drives where a trial begins.
        """
        state = tuple(np.where(reset_mask[:, None], np.float32(0), array) for array in state)
        action, following = self._student.act(observation, previous.forgotten(reset_mask), state)
        if self._student.expert is not None and self._task is not None and self._led.any():
            shown = self._student.expert.act(observation, self._task)
            led = self._led & ~reset_mask
            action = action if shown is None else np.where(led[:, None], shown, action)
        if self._round % 2 == 0 and self.config.noise:
            action = action + self.config.noise * self._noise.standard_normal(action.shape, np.float32)
        return np.clip(action, -1, 1).astype(np.float32), {}, following

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity, ValueError where it tells no task."""
        guard.check_transition(batch, self.env_steps)
        if batch.task is None or batch.previous is None or batch.trial_first is None:
            raise ValueError(f"{self.name} must be told task, trial and what happened before, found a transition that "
                             "lacks one")
        first = batch.trial_first
        self._lessons.add({"first": first, **self._student.lesson(batch, batch.previous.forgotten(first))}, batch.state)
        self._task = batch.task
        self.env_steps += self.num_envs

    def ready(self) -> bool:
        """Whether a whole round is there."""
        return self._lessons.complete

    def update(self) -> dict[str, float]:
        """Teach the student from this round and the ones before; returns the loss and other metrics by name."""
        config = self.config
        newest = self._lessons.close_round()
        if self._round == 0:
            self._student.begin(newest)
        left = max(0.0, 1.0 - self.env_steps / config.total_steps)
        self._optimizer.learning_rate.assign(config.learning_rate * (
            config.learning_rate_end + (1.0 - config.learning_rate_end) * left))
        losses = []
        for _ in range(config.gradient_steps):
            rounds = self._lessons.rounds
            drawn = newest if self._order.random() < config.newest_share else rounds[self._order.integers(len(rounds))]
            rows = self._order.choice(self.num_envs, min(config.minibatch_rows, self.num_envs), replace=False)
            lessons, state = self._lessons.rows(drawn, rows)
            lessons = self._student.varied(lessons, self._order)
            losses.append(self._gradient_step({name: tf.constant(array) for name, array in lessons.items()},
                                              tuple(map(tf.constant, state))))
        loss, norm = np.mean([[float(number) for number in pair] for pair in losses], axis=0)
        metrics = {"loss": loss, "gradient_norm": norm, "teacher_share": float(self._led.mean())}
        guard.check(metrics, self._student.variables, self.env_steps)
        self._student.renew()
        self._round += 1
        self.version += 1
        self._begin_round()
        return metrics

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        return self._student.graph.bundle(
            algorithm=self.name, robot=self.robot, version=self.version, memory="trial",
            memory_id=self._memory_id,
            provenance={"config": asdict(self.config), "env_steps": self.env_steps, **(provenance or {})})

    def renumber(self, version: int) -> None:
        """Let the present policy have this version; those to come go on from it."""
        self.version = version

    def weights(self) -> dict[str, np.ndarray]:
        """The variables of network and optimizer as named arrays."""
        return weights.pack("variable_", self._all_variables())

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        saved = {**self.weights(), **self._student.save(), **self._lessons.save(), "led": self._led,
                 "round": np.asarray(self._round), "noise": checkpoint.pack_generator(self._noise),
                 "order": checkpoint.pack_generator(self._order),
                 "env_steps": np.asarray(self.env_steps), "version": np.asarray(self.version)}
        return saved if self._task is None else {**saved, "task": self._task}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks of other sizes."""
        weights.unpack("variable_", self._all_variables(), state)
        self._student.restore(state)
        self._lessons.restore(state)
        checkpoint.unpack_generator(self._noise, state["noise"])
        checkpoint.unpack_generator(self._order, state["order"])
        self._led, self._round = state["led"].copy(), int(state["round"])
        self._task = state["task"].copy() if "task" in state else None
        self.env_steps, self.version = int(state["env_steps"]), int(state["version"])

    def _all_variables(self) -> list[keras.Variable]:
        return [*self._student.variables, *weights.of_optimizer(self._optimizer)]

    def _begin_round(self) -> None:
        """Draw the robots that the teacher drives."""
        share = self.config.teacher_share * max(0.0, 1.0 - self._round / self.config.teacher_rounds)
        self._led = self._order.random(self.num_envs) < share

    def _descend(self, lessons: dict[str, tf.Tensor], state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = self._student.loss(lessons, state)
        gradients = tape.gradient(loss, [v.value for v in self._student.variables])
        gradients, norm = tf.clip_by_global_norm(gradients, self.config.max_gradient_norm)
        self._optimizer.apply(gradients, self._student.variables)
        return loss, norm
