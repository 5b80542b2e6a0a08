"""What the monitor finds, to its diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


def encode_status(name: str, host: str, level: int, sentence: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """One line of /diagnostics."""
    texts = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return DiagnosticStatus(level=bytes([level]), name=name, message=sentence, hardware_id=host,
                            values=[KeyValue(key=key, value=text) for key, text in texts.items()])
