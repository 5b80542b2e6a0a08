"""What a user's other work has set up does not reach into a training."""

import os
import subprocess

import matplotlib
import pytest

from trainer.compress.report import Report, picture
from trainer.runs.plot import save_curve
from trainer.runs.provenance import code_version


@pytest.mark.parametrize("draw", [lambda folder: save_curve(folder, "a run"),
                                  lambda folder: picture(Report("", "", {"episodes": 1}, {}, []))])
def test_pictures_have_our_own_look(monkeypatch, tmp_path, draw):
    """A TeX that is not there is no matter, and what others have set is theirs again."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with matplotlib.rc_context({"text.usetex": True, "savefig.format": "pdf"}):
        draw(tmp_path)
        assert matplotlib.rcParams["text.usetex"]


def test_the_code_version_is_that_of_this_code(monkeypatch, tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    found = code_version()
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CEILING_DIRECTORIES"):
        monkeypatch.setenv(name, str(tmp_path / ".git"))
    assert code_version() == found
    assert os.environ["GIT_DIR"]  # a user's stays
