"""Files of networks whose weights are exchanged in place: milliseconds, where writing anew takes a second."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

Form = Callable[[np.ndarray], np.ndarray]

# What converters turn weights into on the way into a file, and how exactly: reciprocals may be off in the last bits.
_FORMS: tuple[tuple[Form, float], ...] = ((lambda w: w, 0.0), (np.transpose, 0.0), (lambda w: 1 / np.sqrt(w), 1e-6))


class Template:
    """The bytes of a file in which every weight was found.

    Args:
        data: the file, written with the weights `marks`.
        marks: float32 arrays of random, positive numbers, so that each is found by what it holds.

    Raises:
        LookupError: an array is not in the file just once, as it is or in a form that is known, nor is each of its
            rows, as those of the two biases that Keras's GRU keeps in one array.
    """

    def __init__(self, data: bytes, marks: Sequence[np.ndarray]) -> None:
        self._data = data
        self._slots = [self._find(mark) for mark in marks]

    def fill(self, weights: Sequence[np.ndarray]) -> bytes:
        """The file with these float32 weights, of the shapes and in the order of `marks`."""
        filled = bytearray(self._data)
        for slots, array in zip(self._slots, weights, strict=True):
            for (start, form), part in zip(slots, [array] if len(slots) == 1 else array, strict=True):
                data = form(part).tobytes()
                filled[start:start + len(data)] = data
        return bytes(filled)

    def _find(self, mark: np.ndarray) -> list[tuple[int, Form]]:
        """Where the array is, or each of its rows."""
        try:
            return [self._find_whole(mark)]
        except LookupError:
            if mark.ndim < 2:
                raise
            return [self._find_whole(row) for row in mark]

    def _find_whole(self, mark: np.ndarray) -> tuple[int, Form]:
        numbers = np.frombuffer(self._data, "<f4", len(self._data) // 4)
        for form, tolerance in _FORMS:
            pattern = form(mark).ravel()
            first = np.isclose(numbers[:max(0, len(numbers) - mark.size + 1)], pattern[0], rtol=tolerance, atol=0)
            found = [at for at in np.flatnonzero(first)
                     if np.allclose(numbers[at:at + mark.size], pattern, rtol=tolerance, atol=0)]
            if len(found) == 1:
                return 4 * int(found[0]), form
        raise LookupError(f"an array of shape {mark.shape} is not in the file just once")


class ZipTemplate:
    """As `Template`, for a zip file whose weights are all in one of its members.

    Args:
        data: the zip file.
        member: name of the member that holds the weights.
        marks: see `Template`.
    """

    def __init__(self, data: bytes, member: str, marks: Sequence[np.ndarray]) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            self._members = {name: archive.read(name) for name in archive.namelist()}
        self._member, self._template = member, Template(self._members[member], marks)

    def fill(self, weights: Sequence[np.ndarray]) -> bytes:
        """As `Template.fill`."""
        members = {**self._members, self._member: self._template.fill(weights)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
        return buffer.getvalue()
