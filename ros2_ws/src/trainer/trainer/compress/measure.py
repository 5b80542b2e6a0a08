"""How fast an actor decides and what it needs, measured in processes of its own."""

from __future__ import annotations

import json
import subprocess
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from statistics import median

from ant_rl_core.surroundings.python import module_command
from trainer.compress.limits import Confinement, Limits, enforced
from trainer.compress.probe import Figures, Job


@dataclass(frozen=True)
class Speed:
    """What was found about an actor.

    Attributes:
        figures: the median of each over the runs; None where a run failed.
        under: what the processes were limited to and by what means; empty: nothing.
        reason: why there are no figures, in one sentence; else empty.
    """

    figures: Figures | None = None
    under: str = ""
    reason: str = ""


def measure(job: Job, limits: Limits | None = None, runs: int = 3, timeout_s: float = 300.0) -> Speed:
    """Measure an actor, each run in a process of its own.

    Args:
        job: which actor, on what, for how long.
        limits: what the processes may have of this machine; None: all of it.
        runs: processes one after the other.
        timeout_s: how long each may take [s].
    """
    found, under = [], ""
    for _ in range(runs):
        with enforced(limits) if limits else nullcontext() as confinement:
            under = confinement.description if confinement else ""
            figures = _run(job, confinement, limits, timeout_s)
        if isinstance(figures, str):
            return Speed(under=under, reason=figures)
        found.append(figures)
    medians = {field.name: median(getattr(figures, field.name) for figures in found) for field in fields(Figures)}
    return Speed(Figures(**medians), under)


def _run(job: Job, confinement: Confinement | None, limits: Limits | None, timeout_s: float) -> Figures | str:
    """The figures of one process, or why it gave none."""
    command = module_command("trainer.compress.probe")
    try:
        done = subprocess.run(confinement.command(command) if confinement else command, input=json.dumps(asdict(job)),
                              capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"took longer than {timeout_s:g} s"
    if done.returncode == 0:
        return Figures(**json.loads(done.stdout))
    if limits and confinement and confinement.ran_out_of_memory(done.stderr):
        return f"needs more than {limits.memory}"
    words = done.stderr.strip().splitlines()[-1:] or ["nothing"]
    return f"ended with exit code {done.returncode}; its last words: {words[0]}"
