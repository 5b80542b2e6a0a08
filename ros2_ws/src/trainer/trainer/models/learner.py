"""Learning a model of the environment from transitions, now and as more of them come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

import keras
import numpy as np

from ant_rl_core.settings import setting
from ant_rl_core.spec import ANT
from ant_rl_core.step import Transition
from trainer import checkpoint
from trainer.models.data.rows import Rows
from trainer.models.fit import FitConfig, Fitter
from trainer.models.kinematics import STATE_SIZE
from trainer.models.learned import LearnedModel


@dataclass(frozen=True)
class ModelLearnerConfig(FitConfig):
    """How a model is learned."""

    model_capacity: int = setting(1_000_000, "transitions that the model learns from, the newest ones", minimum=1)
    held_out_share: float = setting(0.1, "share of the transitions, in pieces of held_out_ticks, that the model is not "
                                    "learned from but judged on", above=0, below=1)
    held_out_ticks: int = setting(250, "ticks of one robot that are held out, or not, together", minimum=1)

    @property
    def pieces(self) -> int:
        """Pieces of which one is held out."""
        return max(2, round(1 / self.held_out_share))


class ModelLearner:
    """Keeps transitions and fits a `LearnedModel` to them.

    Each row is drawn once, when it comes, how often each network is to see it (Poisson with mean 1: a bootstrap), and
    which of several pieces of held_out_ticks is held out. Ends of episodes need no care: a row is one step.

    Args:
        model: what learns.
        config: see `ModelLearnerConfig`.
        num_envs: robots of a tick, for `observe`.
        seed: of everything that is random.

    Attributes:
        added: transitions that ever came.
    """

    def __init__(self, model: LearnedModel, config: ModelLearnerConfig, num_envs: int = 1,
                 seed: int | np.random.SeedSequence = 0) -> None:
        self.model, self.config, self.num_envs = model, config, num_envs
        streams = (seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)).spawn(2)
        self._fitter = Fitter(model.ensemble, config, streams[0])
        self._rng = np.random.default_rng(streams[1])
        self.added = self._ticks = 0
        self._held_piece = np.zeros(num_envs, np.int64)
        self._store = _Store(config.model_capacity, model.ensemble.config.members)

    def __len__(self) -> int:
        """Transitions kept."""
        return self._store.size

    @property
    def batches(self) -> int:
        """Gradient steps made."""
        return self._fitter.batches

    @property
    def can_fit(self) -> bool:
        """Whether some transitions are held out, and others are not."""
        held_out = self._store.kept()["held_out"]
        return bool(held_out.any() and not held_out.all())

    def observe(self, batch: Transition) -> None:
        """Take one tick of `num_envs` robots."""
        pieces = self.config.pieces
        piece, tick = divmod(self._ticks, self.config.held_out_ticks)
        if piece % pieces == 0 and tick == 0:
            self._held_piece = self._rng.integers(pieces, size=self.num_envs)
        self._ticks += 1
        self.add(Rows.of(batch), self._held_piece == piece % pieces)

    def add(self, rows: Rows, held_out: np.ndarray) -> None:
        """Take rows, of which those marked in bool [m] are held out."""
        members = self.model.ensemble.config.members
        times = self._rng.poisson(1.0, (len(rows), members)) if members > 1 else np.ones((len(rows), 1))
        self.added += len(rows)
        self._store.add({**{each.name: getattr(rows, each.name) for each in fields(Rows)},
                         "times": times.astype(np.uint8), "held_out": held_out})

    def fit(self, batches: int, decay: bool = False,
            shown: Callable[[range], Iterable[int]] = iter) -> dict[str, float]:
        """As `Fitter.fit` on what is kept; ValueError where none of it is held out, or all."""
        kept = self._store.kept()
        rows = Rows(**{each.name: kept[each.name] for each in fields(Rows)})
        inputs = np.concatenate([rows.state, rows.action], axis=1)
        outputs = self.model.targets(rows)
        return self._fitter.fit(inputs, outputs, kept["times"], kept["held_out"], batches, decay, shown)

    def variables(self) -> list[keras.Variable]:
        """Of networks and optimizer: what NaN and infinity are looked for in."""
        return [*self.model.ensemble.learned, *self._fitter.variables()]

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs, as named arrays; those of the rows are no copies."""
        return {**{f"row_{name}": array for name, array in self._store.kept().items()}, **self._fitter.save(),
                "held_piece": self._held_piece, "split_rng": checkpoint.pack_generator(self._rng),
                "counts": np.array([self.added, self._ticks])}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if it was of networks of other sizes, or of other robots."""
        if saved["held_piece"].shape != (self.num_envs,):
            raise ValueError(f"expected a model learned from {self.num_envs} robots, found {len(saved['held_piece'])}")
        self._fitter.restore(saved)
        self._store.clear()
        self._store.add(checkpoint.Part(saved, "row_"))
        self._held_piece = saved["held_piece"].copy()
        checkpoint.unpack_generator(self._rng, saved["split_rng"])
        self.added, self._ticks = map(int, saved["counts"])


class _Store:
    """The newest rows of named arrays, oldest first; room grows by halves, so that ticks are cheap to add."""

    def __init__(self, capacity: int, members: int) -> None:
        self._capacity, self._first, self.size = capacity, 0, 0
        shapes = {"state": (STATE_SIZE,), "action": (ANT.action_size,), "next_state": (STATE_SIZE,),
                  "displacement": (2,), "contact": (), "reward": ()}
        self._arrays = {name: np.zeros((0, *shape), np.float32) for name, shape in shapes.items()}
        self._arrays |= {"times": np.zeros((0, members), np.uint8), "held_out": np.zeros(0, bool)}

    def clear(self) -> None:
        self._first = self.size = 0

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """Rows beyond the capacity push the oldest out."""
        count = len(rows["held_out"])
        end = self._first + self.size
        if end + count > len(self._arrays["held_out"]):
            room = self.size + count + max(self.size // 2, 1024)
            for name, array in self._arrays.items():
                grown = np.zeros((room, *array.shape[1:]), array.dtype)
                grown[:self.size] = array[self._first:end]
                self._arrays[name] = grown
            self._first, end = 0, self.size
        for name, array in self._arrays.items():
            array[end:end + count] = rows[name]
        self.size += count
        beyond = max(0, self.size - self._capacity)
        self._first, self.size = self._first + beyond, self.size - beyond

    def kept(self) -> dict[str, np.ndarray]:
        """The rows, as views."""
        return {name: array[self._first:self._first + self.size] for name, array in self._arrays.items()}
