"""What a session of learning says to others, whoever they are, and that it can't begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class CannotBegin(ValueError):
    """The learning can't begin with these settings, robots and this folder; the text is one sentence."""


class Outbox(Protocol):
    """Where what a session says goes."""

    @property
    def held(self) -> bool:
        """Whether environments were held and not let go since."""

    def hold(self) -> None:
        """Let the environments wait."""

    def release(self) -> None:
        """Let the environments go on."""

    def send_policy(self, bundle: bytes, version: int) -> None:
        """Hand a new policy to those who act."""

    def send_progress(self, algorithm: str, figures: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Say how learning goes: `figures` are the fields of TrainingProgress, `metrics` those of the method."""

    def say(self, sentence: str) -> None:
        """Tell people."""

    def warn(self, key: str, sentence: str) -> None:
        """Warn people; not too often of the same `key`."""
