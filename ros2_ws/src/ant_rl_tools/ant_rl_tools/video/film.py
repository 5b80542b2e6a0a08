"""Pictures side by side with captions, written as an MP4 that browsers and phones play."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ant_rl_core.files import replacing

_FONT_SIZE = 15  # [pixels]
_LINE = 20  # [pixels]
_MARGIN = 6  # [pixels]
BACKGROUND, TEXT = (16, 16, 16), (235, 235, 235)
_IN_A_ROW = 4
# The usual encoder at its usual quality; the index comes first, so that a browser need not load the whole file.
_CODEC, _QUALITY, _CONTAINER = "libx264", {"crf": "23"}, {"movflags": "faststart"}


def band_height(lines: int) -> int:
    """Height of a caption of so many lines [pixels], an even number."""
    return lines * _LINE + 2 * _MARGIN


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all that is written in pictures, of so many pixels."""
    return ImageFont.load_default(size)


def captioned(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """A picture with lines of text above it, uint8 [band_height + height, width, 3]; long lines are cut."""
    height, width, _ = picture.shape
    band = Image.new("RGB", (width, band_height(len(lines))), BACKGROUND)
    draw = ImageDraw.Draw(band)
    for index, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + index * _LINE), line, TEXT, font(_FONT_SIZE))
    return np.concatenate([np.asarray(band), picture])


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size as one: up to four in a row, the rest below."""
    columns = min(len(pictures), _IN_A_ROW)
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[start:start + columns], axis=1) for start in range(0, len(padded), columns)]
    return np.concatenate(rows)


class Film:
    """Writes frames as an H.264 video; the file is there once it is closed, and only if all went well.

    Args:
        path: of the file (.mp4), which is replaced.
        rate: frames per second.

    Raises:
        OSError: it can't be written.
    """

    def __init__(self, path: str, rate: int) -> None:
        self._path = Path(path)
        self._folder = tempfile.TemporaryDirectory()  # the encoder goes back in its file, which a pipe can't
        self._made = Path(self._folder.name, "film.mp4")
        self._file = av.open(str(self._made), "w", format="mp4", options=_CONTAINER)
        stream = self._file.add_stream(_CODEC, rate=rate, options=_QUALITY)
        assert isinstance(stream, av.VideoStream)  # as the codec says
        self._stream = stream
        self._stream.pix_fmt = "yuv420p"  # what every player knows
        self._is_empty = True

    def add(self, frame: np.ndarray) -> None:
        """Add a frame, uint8 [height, width, 3] of the same even size as the others."""
        if self._is_empty:
            self._stream.height, self._stream.width = frame.shape[:2]
            self._is_empty = False
        self._file.mux(self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._file.mux(self._stream.encode())
            self._file.close()
            if kind is None:
                with open(self._made, "rb") as made, replacing(self._path) as file:
                    shutil.copyfileobj(made, file)
        finally:
            self._folder.cleanup()
