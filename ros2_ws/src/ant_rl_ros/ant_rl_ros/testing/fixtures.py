"""Fixtures that the conftest.py of each package that starts nodes takes over by importing them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ant_rl_ros.testing.domain import own_domain
from ant_rl_ros.testing.process import LOCAL


@pytest.fixture(autouse=True)
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Nodes in the test's own process, and those that it starts, are in a domain of its own."""
    with own_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain


@pytest.fixture(autouse=True)
def local_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes in the test's own process stay on this machine too, and check every field that they set."""
    for name, value in LOCAL.items():
        monkeypatch.setenv(name, value)
