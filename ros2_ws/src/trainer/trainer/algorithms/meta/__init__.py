"""Methods whose policies have a memory and find out within a trial which task they are in."""

from __future__ import annotations

from trainer.algorithms.method import Method

METHODS: dict[str, Method] = {
}
