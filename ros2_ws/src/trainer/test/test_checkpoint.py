"""Checkpoints: whole or not at all, whatever the disk does, and nothing that could run code."""

import resource
import subprocess

import numpy as np
import pytest

from trainer import checkpoint

ARRAYS = {"a.weights": np.arange(60_000, dtype=np.float32).reshape(200, 300), "b.count": np.asarray(7),
          "c.text": np.asarray("abc"), "d.empty": np.zeros((0, 2)), "e.bytes": np.arange(5, dtype=np.uint8)}


def equal(found, expected):
    return set(found) == set(expected) and all(
        np.array_equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in expected)


def test_what_is_saved_is_loaded_and_a_save_replaces_the_one_before(tmp_path):
    path = tmp_path / "new" / "checkpoint.npz"
    checkpoint.save(path, {"x": np.ones(3)})
    checkpoint.save(path, ARRAYS)
    assert equal(checkpoint.load(path), ARRAYS)
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint.npz"]


def test_what_is_not_there_is_told_in_a_sentence(tmp_path):
    checkpoint.save(tmp_path / "checkpoint.npz", {"a.weights": np.ones(3)})
    saved = checkpoint.load(tmp_path / "checkpoint.npz")
    assert "weights" in checkpoint.Part(saved, "a.") and "bias" not in checkpoint.Part(saved, "a.")
    with pytest.raises(checkpoint.CheckpointError, match=r"^/.*/checkpoint.npz: expected a.bias in it, found none: it "
                       "is of another method or of another version of this program; begin anew in another folder$"):
        checkpoint.Part(saved, "a.")["bias"]


@pytest.fixture
def file_size_limit(tmp_path):
    """A folder in which no file may exceed 100 kB, and how to lift that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def full_disk(tmp_path):
    """A file system of its own with 128 kB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system takes root")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("folder", ["file_size_limit", "full_disk"])
def test_without_room_the_old_checkpoint_stays_whole(folder, request):
    path = request.getfixturevalue(folder) / "checkpoint.npz"
    small = {"x": np.arange(1000)}
    checkpoint.save(path, small)
    with pytest.raises(checkpoint.CheckpointError, match=r"can't write the checkpoint .*\((File too large|No space "
                       r"left on device)\); the one before it is kept: make room or choose another folder$"):
        checkpoint.save(path, ARRAYS)
    assert equal(checkpoint.load(path), small)
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint.npz"], "the part that was written is gone"


def test_a_folder_that_can_not_be_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/none"):
        with pytest.raises(checkpoint.CheckpointError, match="^can't write the checkpoint .* choose another folder$"):
            checkpoint.save(f"{folder}/checkpoint.npz", ARRAYS)


def test_a_file_that_is_missing_damaged_or_something_else_is_refused(tmp_path):
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(checkpoint.CheckpointError, match="expected a checkpoint, found no file of that name$"):
        checkpoint.load(path)
    with pytest.raises(checkpoint.CheckpointError, match="expected a checkpoint"):
        checkpoint.load(tmp_path)
    np.save(tmp_path / "array.npy", np.ones(3))
    others = [b"", b"no zip", (tmp_path / "array.npy").read_bytes()]
    checkpoint.save(path, ARRAYS)
    whole = path.read_bytes()
    for data in [*others, *(whole[:size] for size in (1, 100, len(whole) // 2, len(whole) - 1))]:
        path.write_bytes(data)
        with pytest.raises(checkpoint.CheckpointError, match="expected a checkpoint, found none that can be read"):
            checkpoint.load(path)


def test_a_flipped_bit_is_never_loaded_as_other_numbers(tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path, {"x": np.arange(50), "y": np.ones(9, np.float32)})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    expected, refused = dict(checkpoint.load(path)), 0
    for _ in range(300):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            found = dict(checkpoint.load(path))
        except checkpoint.CheckpointError:
            refused += 1
        else:  # in parts of the zip that say nothing of the content
            assert all(np.array_equal(found[name], array) for name, array in expected.items() if name in found)
    assert refused > 200


class Dangerous:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_python_objects_are_neither_saved_nor_loaded(tmp_path):
    path, mark = tmp_path / "checkpoint.npz", tmp_path / "mark"
    objects = np.array([Dangerous(mark)], dtype=object)
    with pytest.raises(TypeError, match="^x must hold numbers or text"):
        checkpoint.save(path, {"x": objects})
    np.savez(path, x=objects)
    with pytest.raises(checkpoint.CheckpointError, match="expected a checkpoint"):
        checkpoint.load(path)
    assert not mark.exists()


def test_a_generator_goes_on_where_it_was():
    rng = np.random.default_rng(1)
    rng.normal(size=3)
    packed, expected = checkpoint.pack_generator(rng), rng.normal(size=5)
    other = np.random.default_rng(2)
    checkpoint.unpack_generator(other, packed)
    assert np.array_equal(other.normal(size=5), expected)
