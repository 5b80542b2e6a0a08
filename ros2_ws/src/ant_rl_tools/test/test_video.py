"""Videos are what was simulated: as many frames as ticks, the robot moving in them, and what it made written above."""

import os
import re
import subprocess
import sys

import av
import numpy as np
import pytest
from drawing import needs_egl

from ant_rl_core import bundle
from ant_rl_core.shipped import resolve_policy
from ant_rl_tools.video import film
from policy_node.actor import load_actor
from trainer.runs.evaluate import evaluate


def video(*words, **variables):
    """`./run video …`, as a process that has ended; OpenGL is left to processes of their own."""
    return subprocess.run([sys.executable, "-m", "ant_rl", "video", *words], env={**os.environ, **variables},
                          capture_output=True, text=True, timeout=120)


def decoded(path):
    """Frames of a video, [n, height, width, 3], and its stream's codec and rate."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
        return np.stack(frames).astype(int), stream.codec_context.name, float(stream.average_rate)


@needs_egl
def test_two_variants_side_by_side(tmp_path):
    path = tmp_path / "walk.mp4"
    done = video("default", "default:int8", f"output:={path}", "steps:=25", "seed:=7", "width:=160", "height:=120",
                 "--quiet")
    assert done.returncode == 0, done.stderr
    frames, codec, rate = decoded(path)
    band = film.band_height(3)
    assert frames.shape == (25, band + 120, 320, 3) and codec == "h264" and rate == 20
    assert f"{path}: 25 frames, 1.25 s" in done.stdout
    assert os.listdir(tmp_path) == ["walk.mp4"]
    for left in (0, 160):
        panel = frames[:, :, left:left + 160]
        assert np.abs(panel[-1, band:] - panel[0, band:]).mean() > 2  # the robot moves
        assert panel[-1, :band].max() > 180 and np.median(panel[-1, :band]) < 60  # light text on a dark band
    assert np.abs(frames[-1, :band, :160] - frames[0, :band, :160]).max() > 80  # the figures change
    assert np.abs(frames[-1, :20, 160:] - frames[-1, :20, :160]).max() > 80  # the names differ


@needs_egl
def test_the_return_is_that_of_an_evaluation(tmp_path):
    # One that falls soon, so that the video is short.
    done = video("ppo", f"output:={tmp_path / 'a.mp4'}", "seed:=1009", "width:=64", "height:=64")
    assert done.returncode == 0, done.stderr
    (episode,) = evaluate(load_actor(bundle.read(resolve_policy("ppo"))), 1, 1009)
    assert f"return {episode.episode_return:.0f}   {episode.length * 0.05:.2f} s, over" in done.stdout
    assert len(decoded(tmp_path / "a.mp4")[0]) == episode.length


@pytest.mark.parametrize("words, sentence", [
    (["default:int9"], "the bundle has no variant 'int9'"),
    (["default", "width:=99"], "width must be an even number from 64 to 2048, found 99"),
    (["default", "output:=/nowhere/a.mp4"], "output must be in a folder that exists"),
    (["default", "step:=3"], "unknown argument 'step'; the nearest one is 'steps'"),
    ([], "video needs policy bundles, paths or names of shipped ones"),
])
def test_one_sentence_and_exit_code_2(tmp_path, words, sentence):
    done = video(*words)
    assert done.returncode == 2
    assert re.fullmatch(r"ant_rl: .*", done.stderr.splitlines()[-1]) and sentence in done.stderr.splitlines()[-1]


def test_a_machine_without_egl_is_told_so(tmp_path):
    path = tmp_path / "a.mp4"
    done = video("default", f"output:={path}", __EGL_VENDOR_LIBRARY_FILENAMES="/dev/null")
    assert done.returncode == 2 and "pictures need EGL, which draws without a display" in done.stderr
    assert "Traceback" not in done.stderr and not path.exists()


def test_pictures_are_arranged_in_rows_of_four():
    pictures = [np.full((2, 4, 3), value, np.uint8) for value in range(1, 6)]
    found = film.side_by_side(pictures)
    assert found.shape == (4, 16, 3)
    assert found[0, ::4, 0].tolist() == [1, 2, 3, 4] and found[2, ::4, 0].tolist() == [5, 0, 0, 0]


def test_what_is_not_finished_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        with film.Film(str(path), 20) as unfinished:
            unfinished.add(np.zeros((64, 64, 3), np.uint8))
            raise KeyboardInterrupt
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.mp4"]
