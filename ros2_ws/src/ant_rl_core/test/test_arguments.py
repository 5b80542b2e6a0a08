"""What is said about a file that can't be written."""

import pytest

from ant_rl_core.files import check_writable
from ant_rl_core.settings import ArgumentError


def test_a_file_that_is_there_or_can_be_made_passes(tmp_path, monkeypatch):
    (tmp_path / "old.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "old.json", tmp_path / "new.json", "new.json"):
        check_writable("summary", str(path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.json"]


@pytest.mark.parametrize(("path", "sentence"), [
    (".", "summary must be a file, found the folder ."),
    ("nowhere/s.json", "summary must be in a folder that exists, found nowhere/s.json; make {folder}/nowhere first"),
    ("/proc/version/s.json", "summary must be in a folder that exists, found /proc/version/s.json; "
                             "make /proc/version first")])
def test_any_other_is_refused_in_one_sentence(path, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as caught:
        check_writable("summary", path)
    assert str(caught.value) == sentence.format(folder=tmp_path)
