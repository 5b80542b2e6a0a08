"""Reports of real runs, opened in a browser: every chart has its data, no script fails, the figures are the run's."""

import json
import re
import sys

import browser
import numpy as np
import pytest
from ant_rl_interfaces.msg import NodeStats
from programs import command
from system import System

from ant_rl_core.spec import ACTUATOR_NAMES
from ant_rl_ros.testing.process import Process
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report.reading import read

CHARTS = {"returns", "reward_parts", "walk", "versions", "latency_histogram", "latency_timeline", "round_trips",
          "misses", "cpu", "memory", "torque", "joint_angle"}
OF_SOME_MACHINES = {"temperature"}
NODES = ("env", "policy", "monitor", "recorder", "status")
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


def finished_episodes(system):
    """As the environment told last."""
    timing = system.timings["env"]
    return dict(zip(timing.value_names, timing.value_values, strict=True))["episode"]


def walk(folder, variant):
    """A run that is recorded until an episode is finished and the processor time of every node is known."""
    with System(folder) as system:
        stats = [system.listen(NodeStats, f"stats/{node}") for node in NODES]
        with Process([sys.executable, "-m", "ant_rl", "sim", "seed:=11", f"variant:={variant}", f"record:={variant}",
                      f"summary:={variant}.json"], {"ROS_DOMAIN_ID": str(system.domain)}, cwd=folder) as process:
            system.until(lambda: all(any(np.isfinite(found.cpu_percent) for found in heard) for heard in stats),
                         "the processor time of every node")
            system.until(lambda: finished_episodes(system) > 0, "an episode")
            assert process.stop() == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the bags float32 and int8 of the same run, their summaries, and the report on each and on both."""
    folder = tmp_path_factory.mktemp("runs")
    for variant in ("float32", "int8"):
        walk(folder, variant)
    for names, page in ((["float32"], "report.html"), (["float32", "int8"], "both.html")):
        done = command("report", *names, *([f"output:={page}"] if page != "report.html" else []), folder=folder)
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        assert lines[0] == page and [line.split(":")[0].strip() for line in lines[1:]] == names
    return folder


@opens_a_page
@pytest.mark.parametrize("width", [1100, 500])
def test_the_page_of_a_run(runs, tmp_path, width):
    found = browser.opened(runs / "report.html", tmp_path, width)
    assert faults(found) == []
    assert set(found["charts"]) - OF_SOME_MACHINES == CHARTS
    assert set(found["buttons"]) == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}  # none that sends it away
    summary = json.loads((runs / "float32.json").read_text())
    expected = [episode["return"] for episode in summary["episodes"]]
    assert [trace["y"] for trace in found["charts"]["returns"]][0] == pytest.approx(expected)
    parts = np.array([trace["y"] for trace in found["charts"]["reward_parts"]])
    assert parts.shape == (4, len(expected)) and parts.sum(axis=0) == pytest.approx(expected)
    assert max(found["charts"]["walk"][0]["y"]) >= (1 - 1e-4) * max(expected)
    with Recording(runs / "float32") as recording:
        ticks = list(recording.ticks())
    torques = {trace["panel"]: trace for trace in found["charts"]["torque"]}
    for column, name in enumerate(ACTUATOR_NAMES):
        assert torques[name]["y"][:500] == pytest.approx([tick.action[0, column] for tick in ticks[1:501]])
    assert {trace["name"] for trace in found["charts"]["cpu"]} == set(summary["nodes"]) == set(NODES)
    text = re.sub(r"\s+", " ", found["text"])
    trip = summary["latencies_ms"]["round_trip"]
    assert f"round trip p50 [ms] {trip['p50']:.3f}" in text and f"round trip p99 [ms] {trip['p99']:.3f}" in text
    assert f"ticks {len(ticks) - 1:,} " in text and "deadline misses 0" in text and "recorder missed 0" in text


@opens_a_page
def test_the_page_of_two_runs(runs, tmp_path):
    found = browser.opened(runs / "both.html", tmp_path)
    assert faults(found) == []
    summaries = [json.loads((runs / f"{name}.json").read_text()) for name in ("float32", "int8")]
    first, second = (summary["mean_return"] for summary in summaries)
    assert f"\t{first:,.1f} ± {summaries[0]['std_return']:,.1f}\t{second:,.1f} ± {summaries[1]['std_return']:,.1f} " \
        f"(×{second / first:.2f})\n" in found["text"]
    for key in CHARTS - {"versions"}:  # where each run has its panel
        assert {trace["name"] for trace in found["charts"][key]} == {"float32", "int8"}, key
    assert [trace["y"] for trace in found["charts"]["returns"]] == [
        pytest.approx([episode["return"] for episode in summary["episodes"]]) for summary in summaries]


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
        run = read(recording, "bag")
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
            (["bag", "./bag"], "report takes each recording once, found bag ./bag"),
            (["bag"] * 8, "at most 7 recordings, found 8"),
            (["bag", "title:=x"], "unknown argument 'title'")]:
        done = command("report", *words, folder=tmp_path)
        assert done.returncode == 2 and done.stdout.count("\n") == 1 and sentence in done.stdout, done.stdout
    assert not (tmp_path / "report.html").exists()
