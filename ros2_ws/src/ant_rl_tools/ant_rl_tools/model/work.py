"""The work of `./run model`: from what robots did to a model and what is to be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ant_env_node.beside.again import Again
from ant_rl_tools.model.report import COPY, KNOWN, LEARNED, LINEAR, SIMULATOR, Found
from trainer.models import kinematics, quality
from trainer.models.copy import CopyModel
from trainer.models.data.resimulated import resimulated
from trainer.models.data.rows import Rows, Stretch
from trainer.models.ensemble import EnsembleConfig
from trainer.models.learned import LearnedModel
from trainer.models.learner import ModelLearner, ModelLearnerConfig
from trainer.models.linear import LinearModel
from trainer.models.quality import Windows
from trainer.models.rollout import known_reward
from trainer.runs.progress import track

_WINDOWS = 256  # that a model is judged on, of each source
_BESIDE = 0.01  # of each number's standard deviation: how far beside the simulator is started


@dataclass(frozen=True)
class Source:
    """What was read of one recording or run: pieces to learn from, and pieces to judge on."""

    name: str
    learned: list[Stretch]
    held_out: list[Stretch]


def prepared(name: str, found: Sequence[Stretch], config: ModelLearnerConfig, seed: int, num_threads: int) -> Source:
    """A source with what was not recorded simulated again; ValueError where it is too short or of another robot."""
    rng = np.random.default_rng([seed, 0])
    whole = resimulated(found, num_threads)
    learned, held_out = quality.split(whole, config.held_out_share, config.held_out_ticks, rng)
    return Source(name, learned, held_out)


def learn(sources: Sequence[Source], network: EnsembleConfig, config: ModelLearnerConfig, batches: int,
          seed: int) -> tuple[LearnedModel, dict[str, float]]:
    """A model of all sources, and the figures of learning it."""
    model_seed, learner_seed = np.random.SeedSequence(seed).spawn(2)
    model = LearnedModel(network, model_seed)
    learner = ModelLearner(model, config, seed=learner_seed)
    for source in sources:
        for pieces, held_out in ((source.learned, False), (source.held_out, True)):
            rows = Rows.joined([piece.rows() for piece in pieces])
            learner.add(rows, np.full(len(rows), held_out))
    figures = learner.fit(batches, decay=True, shown=lambda looks: track(looks, len(looks), "look"))
    return model, figures


def judge(sources: Sequence[Source], model: LearnedModel, seed: int, num_threads: int) -> list[Found]:
    """What is to be said of a model on the held-out part of each source; least squares are of all their other parts."""
    learned = Rows.joined([piece.rows() for source in sources for piece in source.learned])
    linear = LinearModel(learned)
    return [_judged(source, model, linear, learned, np.random.default_rng([seed, 1]), num_threads)
            for source in sources]


def _judged(source: Source, model: LearnedModel, linear: LinearModel, learned: Rows, rng: np.random.Generator,
            num_threads: int) -> Found:
    held_out = Rows.joined([piece.rows() for piece in source.held_out])
    spread = quality.spreads(lambda state, action: model.spread(state, action).numpy(), learned, held_out, rng)
    longest = max(map(len, source.held_out))
    horizon = max(k for k in quality.STEPS if k <= longest)
    real = quality.windows(source.held_out, horizon, _WINDOWS, rng)
    judgements: Mapping[str, quality.Judgement] = {}
    if real is not None:
        scale = held_out.state.astype(np.float64).std(axis=0)
        found = {LEARNED: quality.imagined(model, real.start, real.action)}
        if model.ensemble.config.reward_head:
            found[KNOWN] = quality.imagined(model, real.start, real.action, known_reward)
        found |= {COPY: quality.imagined(CopyModel(), real.start, real.action),
                  LINEAR: quality.imagined(linear, real.start, real.action),
                  SIMULATOR: _simulated_beside(real, scale, rng, num_threads)}
        judgements = {name: quality.judged(*each, real, scale) for name, each in found.items()}
    return Found(source.name, len(held_out) + sum(map(len, source.learned)), len(held_out), judgements, spread)


def _simulated_beside(real: Windows, scale: np.ndarray, rng: np.random.Generator,
                      num_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """States and rewards, as of `quality.imagined`, of the simulator itself, started a little beside."""
    start = kinematics.with_unit_quaternion(real.start + _BESIDE * scale * rng.standard_normal(real.start.shape))
    with Again(num_threads) as again:
        found = again.run(start, real.action)
    forward = kinematics.forward(found.displacement, found.state)
    return found.state, kinematics.reward_of(forward, real.action, found.state, found.contact)
