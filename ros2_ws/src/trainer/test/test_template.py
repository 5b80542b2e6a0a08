"""Templates: weights are put where they were found, and nothing is taken for one that is none."""

import io
import zipfile

import numpy as np
import pytest

from trainer.export.template import Template, ZipTemplate

RNG = np.random.default_rng(0)
MARKS = [RNG.uniform(0.5, 1.5, shape).astype(np.float32) for shape in ((3, 4), (4,), (5, 2), (1,))]
OTHERS = [RNG.uniform(0.5, 1.5, mark.shape).astype(np.float32) for mark in MARKS]


def written(weights):
    """A file with weights as they are, as a reciprocal root, transposed, and between other bytes."""
    kernel, variance, turned, scalar = weights
    parts = [kernel.tobytes(), (1 / np.sqrt(variance)).tobytes(), turned.T.tobytes(), scalar.tobytes()]
    return b"head" + b"....".join(parts) + b"tail."


def test_a_filled_template_is_the_file_as_if_it_had_been_written():
    template = Template(written(MARKS), MARKS)
    assert template.fill(OTHERS) == written(OTHERS)
    assert template.fill(MARKS) == written(MARKS)


def test_a_reciprocal_that_is_off_in_the_last_bits_is_found():
    data = written([MARKS[0], np.nextafter(MARKS[1], 2), *MARKS[2:]])
    assert Template(data, MARKS).fill(OTHERS) == written(OTHERS)


@pytest.mark.parametrize("data", [b"", b"abc", written(OTHERS), written(MARKS) + b"..." + MARKS[0].tobytes(),
                                  written(MARKS)[:-10]])
def test_weights_that_are_not_there_or_there_twice_are_refused(data):
    with pytest.raises(LookupError, match="not in the file just once"):
        Template(data, MARKS)


def zipped(weights):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("weights", written(weights))
    return buffer.getvalue()


def test_a_zip_is_filled_with_its_other_members_kept():
    filled = ZipTemplate(zipped(MARKS), "weights", MARKS).fill(OTHERS)
    with zipfile.ZipFile(io.BytesIO(filled)) as archive:
        assert archive.testzip() is None and archive.namelist() == ["config.json", "weights"]
        assert archive.read("config.json") == b"{}" and archive.read("weights") == written(OTHERS)
