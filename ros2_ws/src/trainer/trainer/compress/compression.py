"""From a policy bundle to smaller variants of its actor, each of them played and measured."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.bundle import FLOAT32, Bundle, BundleError
from ant_rl_core.machine import machine
from ant_rl_core.settings import Settings, setting
from ant_rl_core.spec import ANT
from policy_node.actor import BundleActor, load_actor
from policy_node.keras_actor import KerasGraph
from policy_node.litert_actor import LiteRTGraph
from trainer.compress import variants
from trainer.compress.limits import Limits
from trainer.compress.litert_file import LiteRTFile
from trainer.compress.measure import measure
from trainer.compress.probe import Job
from trainer.compress.report import Report, Row
from trainer.compress.samples import Teacher
from trainer.runs import provenance
from trainer.runs.evaluate import evaluate
from trainer.runs.progress import numbered

_COMPARED_SAMPLES = 2_000
# What one would use otherwise, by the probe's name for it.
_OTHERWISE = {"keras_eager": "Keras eager", "keras_function": "Keras tf.function", "numpy": "numpy"}
_SUFFIX = ".tflite"


@dataclass(frozen=True)
class CompressConfig(Settings):
    """Settings of a compression."""

    output: str = setting("runs/compress", "folder for the bundle policy.zip, the report report.md and report.json, "
                          "and its picture report.png", path=True)
    summary: str = setting("", "a further path for report.json; empty means none", path=True)
    episodes: int = setting(50, "episodes that each variant's return is the mean of", minimum=1)
    evaluation_seed: int = setting(1000, "seed of the first episode; episode k is Ant-v5 reset with evaluation_seed + "
                                   "k", minimum=0)
    seed: int = setting(0, "of the rollouts that variants are calibrated and taught on, and of all else that is drawn",
                        minimum=0)
    effort: float = setting(1.0, "how much is taught, as a share of the usual number of rounds and passes", above=0)
    keras: bool = setting(True, "the bundle keeps actor.keras too, where the given one has it")
    num_threads: int = setting(0, "threads that step physics; 0 means one per core", minimum=0)
    seconds: float = setting(2.0, "how long each of three processes per row runs at full speed, and then at 20 Hz; 0 "
                             "means that speed is not measured", unit="s", minimum=0)
    core_share: float = setting(Limits.core_share, "share of one core under the limits of the Pi, from 0.1 to 1")
    memory_mb: int = setting(Limits.memory_bytes // 10**6, "memory under the limits of the Pi", unit="10^6 bytes")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limits()  # which has the bounds of the last two

    def limits(self) -> Limits:
        """The limits of the Pi."""
        return Limits(self.core_share, self.memory_mb * 10**6)


def compress(policy: Bundle, methods: Sequence[str], config: CompressConfig, command: str,
             tell: Callable[[str], None]) -> tuple[bytes, Report]:
    """Make variants of a bundle's actor; returns the bytes of a bundle of them, and what was found about each.

    Args:
        policy: with the member actor.tflite.
        methods: names of the variants, see `variants`; empty: the usual ones that can be made of this actor.
        config: how.
        command: what was typed, for the record.
        tell: is given what is being done, line by line.

    Raises:
        BundleError: the actor is none of the Ant, or one of `methods` can't be made of it.
    """
    return _Compression(policy, config, command, tell).run(methods)


class _Compression:
    def __init__(self, policy: Bundle, config: CompressConfig, command: str, tell: Callable[[str], None]) -> None:
        manifest = policy.manifest
        if manifest.robot != ANT.name:
            raise BundleError(f"expected a policy for {ANT.name}, on whose rollouts variants are calibrated and "
                              f"judged, found one for {manifest.robot}")
        policy.check_robot(ANT.name, ANT.observation_size, ANT.action_size)
        model = policy.member(policy.variant(FLOAT32, _SUFFIX))
        load_actor(policy)  # whether it runs, and is what the manifest says
        self._policy, self._config, self._command, self._tell = policy, config, command, tell
        self._teacher = Teacher(model, manifest, config.num_threads)
        self._maker = variants.Maker(model, self._teacher, config.seed, config.effort, tell)
        # The Keras model is what all others stand for, where there is one.
        keras = policy.variants(".keras").get(FLOAT32)
        reference = KerasGraph(policy.member(keras)) if keras else self._teacher.graph
        self._compared = self._teacher.visited(self._teacher.graph, _COMPARED_SAMPLES, config.evaluation_seed)
        self._actions = reference(self._compared)["action"]
        self._float = self._judged(FLOAT32, model)

    def run(self, methods: Sequence[str]) -> tuple[bytes, Report]:
        rows, members = [self._float], {}
        for place, name in numbered(methods or variants.USUAL):
            self._tell(f"{name}: making it ({place})")
            try:
                model = self._maker.make(name)
            except BundleError as error:
                if methods:
                    raise BundleError(f"{name}: {error}") from error
                rows.append(Row(name, reason=str(error)))
                continue
            members[name] = model
            if name != FLOAT32:
                rows.append(self._judged(name, model))
        if self._config.seconds:
            rows = self._measured(rows, members)
        config = {name: value for name, value in asdict(self._config).items() if name not in ("output", "summary")}
        made = Report(self._command, provenance.code_version(), config, machine(), rows)
        return self._packed(members, made), made

    def _judged(self, name: str, model: bytes) -> Row:
        """What a variant is and how it acts, without its speed."""
        graph, file = LiteRTGraph(model), LiteRTFile(model)
        actor = BundleActor(graph, self._policy.manifest)
        episodes = evaluate(actor, self._config.episodes, self._config.evaluation_seed,
                            num_threads=self._config.num_threads)
        returns = [episode.episode_return for episode in episodes]
        difference = np.abs(graph(self._compared)["action"] - self._actions)
        row = Row(name, file_bytes=len(model), deflated_bytes=len(zlib.compress(model)), weights=file.weights,
                  zeros=file.zeros, returns=returns, falls=sum(episode.terminated for episode in episodes),
                  mean_action_difference=float(difference.mean()), max_action_difference=float(difference.max()))
        self._tell(f"{name}: {len(model) / 1e6:.2f} MB, return {row.mean_return:,.0f} ± {row.std_return:,.0f}")
        return row

    def _measured(self, rows: Sequence[Row], members: Mapping[str, bytes]) -> list[Row]:
        """The rows with the speed of each, and rows for what one would use otherwise."""
        with tempfile.TemporaryDirectory() as folder:
            bundle, observations = Path(folder, "policy.zip"), Path(folder, "observations.npy")
            every = {**self._policy.members, **{_member(name): model for name, model in members.items()}}
            bundle.write_bytes(policy_bundle.pack(self._policy.manifest, every, {}))
            np.save(observations, self._compared["observation"])
            job = Job(str(bundle), observations=str(observations), seconds=self._config.seconds,
                      paced_seconds=self._config.seconds)
            otherwise = [(Row(title), replace(job, kind=kind)) for kind, title in _OTHERWISE.items()
                         if kind == "numpy" or self._policy.variants(".keras")]
            found = []
            for place, (row, job) in numbered([*otherwise, *((row, replace(job, variant=row.name)) for row in rows)]):
                if row.reason:
                    found.append(row)
                    continue
                self._tell(f"{row.name}: measuring its speed ({place})")
                found.append(replace(row, speed=measure(job), limited=measure(job, self._config.limits())))
        return found

    def _packed(self, members: Mapping[str, bytes], made: Report) -> bytes:
        """A bundle of the variants, which says of each what was found."""
        files = {_member(name): model for name, model in members.items()}
        if self._config.keras:
            files |= {member: self._policy.member(member) for member in self._policy.variants(".keras").values()}
        details: dict[str, Mapping[str, Any]] = {
            _member(row.name): {"backend": "litert", "precision": row.name, "weights": row.weights, "zeros": row.zeros,
                                "mean_return": row.mean_return, "episodes": len(row.returns)}
            for row in made.rows if row.name in members}
        details |= {member: self._policy.manifest.members[member] for member in files if member not in details}
        record = {"command": made.command, "code_version": made.code_version, "config": made.config}
        manifest = replace(self._policy.manifest,
                           provenance={**self._policy.manifest.provenance, "compression": record})
        return policy_bundle.pack(manifest, files, details, deflated=True)


def _member(name: str) -> str:
    return policy_bundle.member_name(name, _SUFFIX)
