"""What was found of a model, as a table, as plain data and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.look import own_look
from trainer.models.quality import STEPS, Judgement

LEARNED, COPY, LINEAR, SIMULATOR = "learned", "copy", "least squares", "simulator, 1 % beside"
KNOWN = "its reward computed"  # of a model that has learned the reward
REWARD_STEPS = 5


@dataclass(frozen=True)
class Found:
    """What was found on one source of data.

    Attributes:
        name: of the source.
        steps, held_out: how many there are, and how many of them are held out.
        judgements: of each model by its name; empty where the source has no stretch that is long enough.
        spread: disagreement of the networks, see `quality.spreads`.
    """

    name: str
    steps: int
    held_out: int
    judgements: Mapping[str, Judgement]
    spread: Mapping[str, float]


def table(found: Sequence[Found]) -> list[str]:
    """For a terminal."""
    lines: list[str] = []
    for source in found:
        ks = _steps(source)
        lines += ["", f"{source.name}: {source.steps:,} steps, {source.held_out:,} held out", "",
                  f"{'':<22}" + "".join(f"{f'k={k}':>8}" for k in ks) + f"{f'reward over {REWARD_STEPS}':>20}"]
        for name, judgement in source.judgements.items():
            lines.append(f"{name:<22}" + "".join(f"{judgement.error[k - 1]:8.3f}" for k in ks) + _reward(judgement))
        spread = ", ".join(f"{value:.3f} {name.replace('_', ' ')}" for name, value in source.spread.items())
        lines += ["", f"the networks disagree by {spread}"]
    return lines[1:]


def plain(found: Sequence[Found]) -> list[dict[str, Any]]:
    """As JSON has it."""
    return [{"source": source.name, "steps": source.steps, "held_out": source.held_out, "spread": dict(source.spread),
             "models": {name: {"error": dict(zip(map(str, _steps(source)), (float(each.error[k - 1])
                                                                           for k in _steps(source)), strict=True)),
                               "error_by_step": each.error.tolist(), "reward_error_by_step": each.reward_error.tolist(),
                               "reward_by_step": each.reward.tolist()}
                        for name, each in source.judgements.items()}} for source in found]


@own_look()
def picture(found: Sequence[Found]) -> bytes:
    """Errors over steps of every model, a column for each source, as PNG."""
    # Takes a second to import and is needed once, at the end.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 4.0 * len(found), 6.4), layout="constrained")
    axes = np.array(figure.subplots(2, len(found), sharex=True, sharey="row", squeeze=False))
    for (upper, lower), source in zip(axes.T, found, strict=True):
        for name, judgement in source.judgements.items():
            k = np.arange(1, len(judgement.error) + 1)
            upper.plot(k, judgement.error, label=name)
            lower.plot(k, judgement.reward_error, label=name)
        upper.set(title=source.name, yscale="log", xscale="log")
        lower.set(yscale="log", xlabel="imagined steps")
        for each in (upper, lower):
            each.grid(alpha=0.3, which="both")
    axes[0, 0].set_ylabel("error of the state [standard deviations]")
    axes[1, 0].set_ylabel("error of the rewards' sum")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _steps(source: Found) -> list[int]:
    most = min((len(each.error) for each in source.judgements.values()), default=0)
    return [k for k in STEPS if k <= most]


def _reward(judgement: Judgement) -> str:
    if len(judgement.reward) < REWARD_STEPS:
        return ""
    off, whole = judgement.reward_error[REWARD_STEPS - 1], judgement.reward[REWARD_STEPS - 1]
    return f"{off:12.3f} ({100 * off / whole:3.1f} %)"
