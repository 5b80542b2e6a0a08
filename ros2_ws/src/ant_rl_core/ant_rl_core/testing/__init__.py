"""Fakes built from the spec: they validate what they are given, and their numbers tell where they came from."""

from __future__ import annotations

from ant_rl_core.testing.actor import FakeActor
from ant_rl_core.testing.environments import EndlessRewardEnv, FakeVectorEnv, IdentityEnv

__all__ = ["EndlessRewardEnv", "FakeActor", "FakeVectorEnv", "IdentityEnv"]
