"""What is evaluated beside each other: bundles, and the yardsticks that nobody had to train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ant_env_node.tasks.presets import STOCK
from ant_env_node.tasks.task import VECTOR_SIZE
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.contracts import Actor
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from policy_node.actor import load_actor
from trainer.analytic.direction import DirectionFilter
from trainer.analytic.dodge import Dodger
from trainer.analytic.expert import Expert
from trainer.analytic.lost_leg import LegFilter
from trainer.analytic.signs import SignFilter
from trainer.analytic.told import ToldExpert
from trainer.trials import controls

YARDSTICKS = ANALYTIC, TOLD = "analytic", "told"  # names that are no policies' files
_BASE = "default"  # the shipped policy that they stand in front of
_FILTERS: Mapping[str, type[SignFilter] | type[DirectionFilter] | type[LegFilter]] = {
    "wired": SignFilter, "lost_leg": LegFilter, "directions2": DirectionFilter, "directions4": DirectionFilter,
    "directions": DirectionFilter}
_BALLS = "obstacle"
_TELLABLE = (*_FILTERS, "swapped", _BALLS)


@dataclass(frozen=True)
class Policy:
    """A policy to be evaluated.

    Attributes:
        name: as it was given.
        make: a fresh actor of it.
        told: whether its observations end with the task's vector.
        remembers: whether it has a memory, or is told what happened before.
        control: what was done to its memory; empty: nothing.
    """

    name: str
    make: Callable[[], Actor]
    told: bool = False
    remembers: bool = False
    control: str = ""

    @property
    def label(self) -> str:
        """How a table calls it: of a path, file and folder."""
        return f"  {self.control}" if self.control else "/".join(Path(self.name).parts[-2:])


def named(name: str, tasks: str, backend: str, variant: str) -> Policy:
    """The policy of this name: a path, a shipped one, `analytic` or `told`.

    Args:
        name: as given.
        tasks: name of the distribution that it is evaluated on.
        backend, variant: of a bundle, see `load_actor`.

    Raises:
        ValueError: there is none, it can't be run, or there is no such yardstick for these tasks.
    """
    if name in (ANALYTIC, TOLD):
        known = _FILTERS if name == ANALYTIC else _TELLABLE
        if tasks not in known:
            raise ArgumentError(f"the policy {name} is for the tasks {', '.join(known)}, found {tasks}: leave it out")
        expert = Expert(_loaded(_BASE, "litert", policy_bundle.FLOAT32)[1])
        told = Dodger if tasks == _BALLS else ToldExpert
        return (Policy(name, lambda: told(expert), told=True) if name == TOLD
                else Policy(name, lambda: _FILTERS[tasks](expert)))
    manifest, actor = _loaded(name, backend, variant, with_tasks=tasks != STOCK)
    remembers = bool(manifest.state_shapes) or len(manifest.inputs) > 1
    return Policy(name, lambda: actor, told=manifest.task_input > 0, remembers=remembers)


def with_controls(policy: Policy, seed: int) -> Iterator[Policy]:
    """The policy, and itself without the use of its memory, where it has one."""
    yield policy
    if not policy.remembers:
        return
    for name, change in (("memory zeroed", controls.forgetful), ("memory shuffled", lambda actor: controls.shuffled(
            actor, seed)), ("previous zeroed", controls.uninformed)):
        def make(change: Callable[[Actor], Actor] = change) -> Actor:
            return change(policy.make())
        yield Policy(policy.name, make, policy.told, policy.remembers, name)


def _loaded(name: str, backend: str, variant: str, with_tasks: bool = False) -> tuple[policy_bundle.Manifest, Actor]:
    policy = policy_bundle.read(resolve_policy(name))
    told = VECTOR_SIZE if with_tasks and policy.manifest.task_input == VECTOR_SIZE else 0
    policy.check_robot(ANT.name, ANT.observation_size + told, ANT.action_size)
    return policy.manifest, load_actor(policy, backend, variant)
