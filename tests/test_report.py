"""Reports of real runs, opened in a browser: every chart has its data, no script fails, the figures are the run's."""

import json
import os
import pty
import re
import subprocess
import sys

import browser
import numpy as np
import pytest
from ant_rl.recorded import Recording
from ant_rl.report.reading import read
from system import WAIT, System, command

CHARTS = {"returns", "reward_parts", "walk", "versions", "latency_histogram", "latency_timeline", "round_trips",
          "misses", "cpu", "memory", "torque", "joint_angle"}
OF_SOME_MACHINES = {"temperature"}
TICKS = 1100  # an episode and a bit
opens_a_page = pytest.mark.skipif(not browser.find(), reason=browser.MISSING)


def faults(found):
    """What is wrong with a page that was opened, in words."""
    wrong = [f"script: {problem}" for problem in found["problems"]]
    wrong += [f"asked the network for {address}" for address in found["requests"]]
    wrong += [f"there is no chart {key}" for key in CHARTS - set(found["charts"])]
    for key, traces in found["charts"].items():
        wrong += [f"{key}: no trace"] * (not traces)
        wrong += [f"{key}: {trace['name']} has no data" for trace in traces if not trace["y"]]
        wrong += [f"{key}: {trace['name']} is not drawn" for trace in traces if not trace["drawn"]]
    return wrong + ["wider than its window"] * (found["overflow"] > 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the bags float32 and int8 of the same run, their summaries, and the report on each and on both."""
    folder = tmp_path_factory.mktemp("runs")
    for variant in ("float32", "int8"):
        done = command("sim", f"steps:={TICKS}", "seed:=11", f"variant:={variant}", f"record:={variant}",
                       f"summary:={variant}.json", folder=folder)
        assert done.returncode == 0, done.stdout
    for names, page in ((["float32"], "report.html"), (["float32", "int8"], "both.html")):
        done = command("report", *names, *([f"output:={page}"] if page != "report.html" else []), folder=folder)
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        assert lines[0] == page and [line.split(":")[0].strip() for line in lines[1:]] == names
    return folder


@opens_a_page
@pytest.mark.parametrize("width", [1100, 375])
def test_the_page_of_a_run(runs, tmp_path, width):
    found = browser.opened(runs / "report.html", tmp_path, width)
    assert faults(found) == []
    assert set(found["charts"]) - OF_SOME_MACHINES == CHARTS
    assert set(found["buttons"]) == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}  # none that sends it away
    summary = json.loads((runs / "float32.json").read_text())
    (episode,) = summary["episodes"]
    (returns,) = found["charts"]["returns"]
    assert returns["y"] == [pytest.approx(episode["return"])]
    parts = [trace["y"][0] for trace in found["charts"]["reward_parts"]]
    assert len(parts) == 4 and sum(parts) == pytest.approx(episode["return"])
    running = found["charts"]["walk"][0]
    assert max(running["y"]) == pytest.approx(episode["return"], rel=1e-4)
    assert running["x"][-1] == pytest.approx(TICKS * 0.05)
    assert len(found["charts"]["torque"]) == 8 and max(len(trace["y"]) for trace in found["charts"]["torque"]) == TICKS
    assert {trace["name"] for trace in found["charts"]["cpu"]} == set(summary["nodes"])
    text = re.sub(r"\s+", " ", found["text"])
    trip = summary["latencies_ms"]["round_trip"]
    assert f"round trip p50 [ms] {trip['p50']:.3f}" in text and f"round trip p99 [ms] {trip['p99']:.3f}" in text
    assert f"ticks {TICKS:,} " in text and "deadline misses 0" in text and "recorder missed 0" in text


@opens_a_page
def test_the_page_of_two_runs(runs, tmp_path):
    found = browser.opened(runs / "both.html", tmp_path)
    assert faults(found) == []
    summaries = [json.loads((runs / f"{name}.json").read_text()) for name in ("float32", "int8")]
    first, second = (summary["mean_return"] for summary in summaries)
    assert f"{first:,.1f} ± 0.0\t{second:,.1f} ± 0.0 (×{second / first:.2f})" in found["text"]
    for key in CHARTS - {"versions"}:  # where each run has its panel
        assert {trace["name"] for trace in found["charts"][key]} == {"float32", "int8"}, key
    assert [trace["y"][0] for trace in found["charts"]["returns"]] == [pytest.approx(first), pytest.approx(second)]


@opens_a_page
def test_what_is_wrong_with_a_page_is_found(runs, tmp_path):
    text = (runs / "report.html").read_text()
    returns = text.rindex("Plotly.newPlot(", 0, text.index('id="reward_parts"'))
    text = text[:returns] + 'Plotly.newPlot("returns", [{"y": []}]); void (' + text[returns + len("Plotly.newPlot("):]
    spoilt = tmp_path / "spoilt.html"
    wrong = "<img src='https://192.0.2.1/a.png'><script>no_such_function()</script>"
    for old, new in (('id="misses"', 'id="hits"'), ("</style>", "p { width: 9000px }</style>"),
                     ("</body></html>", f"{wrong}</body></html>")):
        text = text.replace(old, new)
    spoilt.write_text(text)
    found = faults(browser.opened(spoilt, tmp_path))
    for fault in ("script: .*no_such_function", "asked the network for https://192.0.2.1/a.png",
                  "there is no chart misses", "returns: .* has no data", "returns: .* is not drawn",
                  "wider than its window"):
        assert any(re.match(fault, sentence) for sentence in found), (fault, found)


@pytest.mark.parametrize("words, draws", [([], True), (["--quiet"], False)])
def test_a_terminal_gets_a_bar_unless_it_is_to_be_quiet(runs, tmp_path, words, draws):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "ant_rl", "report", str(runs / "int8"), *words], cwd=tmp_path,
                               env={**os.environ, "TERM": "xterm"}, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # what a terminal says whose other side is closed
        assert process.wait(WAIT) == 0
    os.close(ours)
    assert b"int8: 1 episode, return" in shown and (b"message/s" in shown and b"%|" in shown) == draws, shown


def test_missed_deadlines_are_those_of_the_environment(tmp_path):
    path = tmp_path / "bag"
    with System(tmp_path) as system:
        recorder = system.start("recorder_node", "recorder_node", "recorder", record=str(path))
        env = system.env(mode="realtime", listeners=1)
        policy = system.policy(policy="default", mode="realtime")
        system.until(lambda: system.counter("policy", "answered") > 10, "a robot that walks")
        policy.kill()
        system.until(lambda: system.counter("env", "deadline_misses") > 20, "missed deadlines")
        del system.timings["policy"]
        system.policy(policy="default", mode="realtime")
        system.until(lambda: system.counter("policy", "answered") > 10, "a robot that walks again")
        assert env.stop() == 0 and recorder.stop() == 0
    with Recording(path) as recording:
        run = read(recording, "bag", lambda count: None)
    _, counted = run.counters["deadline_misses"]
    ticks = run.ticks
    assert np.count_nonzero(ticks.missed) == counted[-1] > 20
    assert not ticks.torque[ticks.missed].any() and ticks.torque[~ticks.missed & ~ticks.begins].any(axis=1).all()


def test_what_can_not_be_reported_is_said_in_one_sentence(runs, tmp_path):
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in (runs / "float32").iterdir():
        (cut / file.name).write_bytes(file.read_bytes()[:200_000])
    for words, sentence in [
            ([], "report needs the folder of a recording"),
            ([str(tmp_path / "no")], "found nothing at"),
            ([str(runs)], "holds 2: name one of float32, int8"),
            ([str(cut)], f"`./run repair {cut}` finishes it"),
            ([str(runs / "float32"), "namespace:=robot9"], "in the namespace robot9"),
            ([str(runs / "float32"), f"output:={tmp_path}/no/page.html"], "output must be in a folder that exists"),
            (["bag"] * 8, "at most 7 recordings, found 8"),
            (["bag", "title:=x"], "unknown argument 'title'")]:
        done = command("report", *words, folder=tmp_path)
        assert done.returncode == 2 and done.stdout.count("\n") == 1 and sentence in done.stdout, done.stdout
    assert not (tmp_path / "report.html").exists()
