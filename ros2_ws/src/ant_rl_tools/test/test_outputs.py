"""What a tool makes goes where its user said, and over nothing that was not named."""

import os
import stat

import av
import numpy as np
import pytest

from ant_rl_core.settings import ArgumentError
from ant_rl_tools.outputs import check_output
from ant_rl_tools.video.command import bundle_of
from ant_rl_tools.video.film import Film


def test_a_default_name_is_no_word_for_writing_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_output("report.html", False, [])
    (tmp_path / "report.html").write_text("of another run")
    with pytest.raises(ArgumentError) as caught:
        check_output("report.html", False, [])
    assert str(caught.value) == ("output must be named where report.html is there already: output:=report.html writes "
                                 "over it, any other name leaves it")
    check_output("report.html", True, [])
    with pytest.raises(ArgumentError, match="must not be what is read"):
        check_output("report.html", True, ["report.html"])


def test_a_film_goes_through_links_and_into_pipes_and_takes_no_other_file(tmp_path):
    (tmp_path / "a.mp4.part").write_text("of a download")
    (tmp_path / "b.mp4").write_text("old")
    (tmp_path / "a.mp4").symlink_to("b.mp4")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("a.mp4", "pipe"):
        with Film(str(tmp_path / name), 20) as film:
            for shade in range(3):
                film.add(np.full((64, 64, 3), shade, np.uint8))
    found = os.read(reader, 1_000_000)
    os.close(reader)
    assert found == (tmp_path / "b.mp4").read_bytes() and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert len(list(file.decode(video=0))) == 3
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "a.mp4.part", "b.mp4", "pipe"]
    assert (tmp_path / "a.mp4").is_symlink() and (tmp_path / "a.mp4.part").read_text() == "of a download"


def test_a_bundle_and_its_variant(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a:b.zip").write_text("")
    for word, path, variant in (("~/x.zip:int8", "x.zip", "int8"), ("~/x.zip", "x.zip", ""),
                                ("~/a:b.zip", "a:b.zip", "")):
        assert bundle_of(word) == (tmp_path / path, variant)
