"""The charts of a report, of one run or of several: arrays in, plotly figures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from ant_rl_core.spec import ACTUATOR_NAMES, ANT, JOINT_NAMES
from ant_rl_tools.report.charts import (
    BLACK,
    BLUE,
    NODE_COLORS,
    POINTS,
    ROBOT_COLOR,
    RUN_COLORS,
    VERMILLION,
    Chart,
    Line,
    finish,
    histogram,
    line_chart,
    log_edges,
)
from ant_rl_tools.report.run_data import Resources, Run

WHOLE_SECONDS = 60.0  # of simulated time: so long, traces have every tick
_SEEN_SECONDS = 10.0  # of traces at first
_MOST_BARS = 200
_MEAN_OF = 20  # [episodes]
# Told apart by all kinds of color vision (Tol's "muted"), and none of a node's.
_PART_COLORS = {"forward": "#332288", "survive": "#88CCEE", "ctrl": "#882255", "contact": "#DDCC77"}
_CLOCK = "time since the recording began [s]"
_NO_EPISODE = "No episode was finished in this recording."
_NO_ANSWER = "No torque that answers an observation is in this recording, or their stamps are of simulated time."


def charts(runs: Sequence[Run]) -> dict[str, list[Chart]]:
    """All charts by the section of the page that they are in; the same for one run and for several."""
    return {
        "Episodes": [_returns(runs), _reward_parts(runs), _walk(runs)],
        "Policies": [_versions(runs)],
        "Latency": [_latency_histogram(runs), _latency_timeline(runs), _round_trips(runs), _misses(runs)],
        "Nodes": [
            _of_nodes(runs, "cpu", "CPU", "Processor time of each node, in percent of one core.", "CPU [% of a core]",
                      lambda node: node.cpu_percent),
            _of_nodes(runs, "memory", "Memory", "Resident memory (RSS) of each node.", "RSS [MiB]",
                      lambda node: node.rss_mib),
            _of_nodes(runs, "temperature", "Temperature", "Hottest thermal zone of the host of each node.",
                      "temperature [°C]", lambda node: node.temperature)],
        "Joints of the first robot": [
            _joints(runs, "torque", "Torques", "Torques as they were applied, one panel for each actuator.",
                    "share of limit [1]", ACTUATOR_NAMES, lambda run: run.ticks.torque),
            _joints(runs, "joint_angle", "Joint angles", "Angles of the joints.", "angle [rad]", JOINT_NAMES,
                    lambda run: run.ticks.joint_angle)],
    }


def _color(runs: Sequence[Run], index: int, alone: str = ROBOT_COLOR) -> str:
    """Color of a run among several, or what is `alone` the color of one."""
    return RUN_COLORS[index] if len(runs) > 1 else alone


def _returns(runs: Sequence[Run]) -> Chart:
    lines = []
    for i, run in enumerate(runs):
        returns = np.array([episode.episode_return for _, episode in run.episodes])
        number = np.arange(1, len(returns) + 1)
        color = _color(runs, i)
        name = run.name if len(runs) > 1 else "return"
        lines.append(Line("", name, color, number, returns, mode="lines+markers" if len(returns) <= _MEAN_OF else
                          "markers"))
        if len(returns) > _MEAN_OF:
            mean = np.convolve(returns, np.full(_MEAN_OF, 1 / _MEAN_OF), "valid")
            lines.append(Line("", f"{name}, mean of {_MEAN_OF}", color if len(runs) > 1 else VERMILLION,
                              number[_MEAN_OF - 1:], mean))
    figure = line_chart(lines, "finished episode", "return [1]")
    if figure is not None and max(len(run.episodes) for run in runs) <= _MEAN_OF:
        figure.update_xaxes(dtick=1)
    return Chart("returns", "Returns", "Return of each finished episode, in the order in which they ended, of all "
                 "robots: the sum of Ant-v5's default rewards.",
                 figure, _NO_EPISODE)


def _reward_parts(runs: Sequence[Run]) -> Chart:
    title, absent = "Reward parts", _NO_EPISODE
    if not any(run.episodes for run in runs):
        return Chart("reward_parts", title, "", None, absent)
    figure = go.Figure()
    if len(runs) == 1:
        (run,) = runs
        size = -(-len(run.episodes) // _MOST_BARS)
        starts = np.arange(0, len(run.episodes), size)
        for part, color in _PART_COLORS.items():
            values = _parts(run, part)
            figure.add_bar(x=starts + (size + 1) / 2, y=[float(values[at:at + size].mean()) for at in starts],
                           name=part, marker_color=color)
        bars = "one bar for each episode" if size == 1 else f"each bar the mean of {size} episodes"
        sentence = f"What the returns are made of, {bars}; costs are negative."
        figure.update_layout(barmode="relative", bargap=0.1)
        figure.update_xaxes(title_text="finished episode")
    else:
        for i, run in enumerate(runs):
            parts = [_parts(run, part) for part in _PART_COLORS] if run.episodes else []
            figure.add_bar(x=list(_PART_COLORS), y=[float(values.mean()) for values in parts], name=run.name,
                           error_y={"type": "data", "array": [float(values.std()) for values in parts]},
                           marker_color=RUN_COLORS[i])
        sentence = "What the returns are made of: mean over the finished episodes, with their standard deviation."
        figure.update_xaxes(title_text="part of the return")
    finish(figure, 380, "reward [1]", True)
    return Chart("reward_parts", title, sentence, figure)


def _parts(run: Run, part: str) -> np.ndarray:
    return np.array([episode.reward_parts[part] for _, episode in run.episodes])


def _walk(runs: Sequence[Run]) -> Chart:
    lines = []
    for panel, name in (("return of the running episode [1]", "running_return"), ("forward speed [m/s]", "speed"),
                        ("height of the torso [m]", "height")):
        lines += [Line(panel, run.name, _color(runs, i), run.ticks.simulated, getattr(run.ticks, name))
                  for i, run in enumerate(runs)]
    return Chart("walk", "The first robot", "How the return adds up within each episode, and how fast and how high the "
                 "robot walks.", line_chart(lines, "simulated time [s]", "", points=POINTS // len(runs)))


def _joints(runs: Sequence[Run], key: str, title: str, sentence: str, unit: str, names: Sequence[str],
            values: Callable[[Run], np.ndarray]) -> Chart:
    lines = [Line(name, run.name, _color(runs, i), run.ticks.simulated, values(run)[:, names.index(name)])
             for name in JOINT_NAMES for i, run in enumerate(runs)]
    seen = min(_SEEN_SECONDS, max(run.ticks.simulated[-1] for run in runs)) or ANT.control_period
    figure = line_chart(lines, "simulated time [s]", unit, x_range=(0.0, seen), points=POINTS // len(runs),
                        whole=round(WHOLE_SECONDS / ANT.control_period))
    return Chart(key, title, f"{sentence} The first {_SEEN_SECONDS:.0f} s are seen; a double click shows all. The "
                 f"first {WHOLE_SECONDS:.0f} s have every tick.", figure, "No torque was applied in this recording.")


def _versions(runs: Sequence[Run]) -> Chart:
    lines = []
    for i, run in enumerate(runs):
        ticks = run.ticks
        version = np.where(ticks.policy_version > 0, ticks.policy_version.astype(np.float64), np.nan)
        # Held through ticks that no policy chose a torque for.
        chosen = np.flatnonzero(np.isfinite(version))
        changes = chosen[np.flatnonzero(np.diff(version[chosen], prepend=np.nan))]
        kept = np.append(changes, chosen[-1:])
        color = _color(runs, i, VERMILLION)
        lines.append(Line(run.name, "in use", color, ticks.time[kept], version[kept], shape="hv",
                          mode="lines+markers"))
        if run.published:
            when, sent = np.array(run.published, np.float64).T
            lines.append(Line(run.name, "sent by the trainer", BLACK if len(runs) > 1 else NODE_COLORS["trainer"],
                              when, sent, mode="markers"))
    figure = line_chart(lines, _CLOCK, "version")
    if figure is not None:
        figure.update_yaxes(tickformat="d")
        if max(np.nanmax(line.y) - np.nanmin(line.y) for line in lines) < 4:
            figure.update_yaxes(dtick=1)
    return Chart("versions", "Policy versions", "Which version of the policy chose the torques, and which versions the "
                 "trainer sent.", figure, "No policy chose a torque in this recording.")


def _delays(runs: Sequence[Run]) -> list[tuple[str, str, int, np.ndarray, np.ndarray]]:
    """(what, color, index of the run, time [s], durations [ms]) of what is known of each tick."""
    return [(what, _color(runs, i, alone), i, run.answers.time, 1e3 * values)
            for what, alone, name in (("observation to torques", BLUE, "delay"), ("inference", VERMILLION, "inference"))
            for i, run in enumerate(runs) for values in (getattr(run.answers, name),)]


def _latency_histogram(runs: Sequence[Run]) -> Chart:
    found = [entry for entry in _delays(runs) if len(entry[4])]
    edges = log_edges([values for *_, values in found]) if found else np.empty(0)
    middles = np.sqrt(edges[1:] * edges[:-1])
    lines = [Line(what if len(runs) > 1 else "", runs[i].name if len(runs) > 1 else what, color, middles,
                  histogram(values, edges), shape="hvh") for what, color, i, _, values in found]
    return Chart("latency_histogram", "How long answers take",
                 "Of all ticks: from the stamp of an observation, when it was taken, to the stamp of its torques, when "
                 "they were computed (without the way back), and the time that was spent in the actor."
                 + _two_clocks(runs), line_chart(lines, "duration [ms]", "ticks [%]", log_x=True), _NO_ANSWER)


def _latency_timeline(runs: Sequence[Run]) -> Chart:
    lines = [Line(what if len(runs) > 1 else "", runs[i].name if len(runs) > 1 else what, color, time, values)
             for what, color, i, time, values in _delays(runs)]
    return Chart("latency_timeline", "Answers over time", f"The same, tick by tick.{_two_clocks(runs)}",
                 line_chart(lines, _CLOCK, "duration [ms]", log_y=True, points=POINTS // len(runs)), _NO_ANSWER)


def _two_clocks(runs: Sequence[Run]) -> str:
    """What has to be known of stamps from two hosts."""
    split = [run.name for run in runs if len({run.hosts.get("env"), run.hosts.get("policy")} - {None}) > 1]
    if not split:
        return ""
    return (f" In {', '.join(split)} the two stamps are of two hosts: what their clocks differ by is in it, and where "
            "it is negative nothing is drawn; round trips are measured by one clock.")


def _round_trips(runs: Sequence[Run]) -> Chart:
    lines = [Line(what if len(runs) > 1 else "", run.name if len(runs) > 1 else what, _color(runs, i, BLUE),
                  run.round_trips.time, 1e3 * getattr(run.round_trips, what), dash if len(runs) == 1 else "solid")
             for what, dash in (("p50", "solid"), ("p99", "dash"), ("max", "dot")) for i, run in enumerate(runs)]
    return Chart("round_trips", "Round trips", "From sending an observation to receiving its torques, by the clock of "
                 "the environment: median, 99th percentile and maximum of each second.",
                 line_chart(lines, _CLOCK, "round trip [ms]", log_y=True),
                 "The environment told of no round trip in this recording.")


def _misses(runs: Sequence[Run]) -> Chart:
    lines = [Line("", run.name if len(runs) > 1 else "deadline misses", _color(runs, i, BLUE), run.ticks.time,
                  np.cumsum(run.ticks.missed).astype(np.float64), shape="hv") for i, run in enumerate(runs)]
    sentence = ("Deadline misses: ticks that had no fresh torque and were made with zero torque, counted from the "
                "beginning.")
    if len(runs) == 1:
        dashes = {"torque_gaps": "dash", "overruns": "dot", "resent": "dashdot"}
        lines += [Line("", name, BLACK, *runs[0].counters[name], dash) for name, dash in dashes.items()
                  if name in runs[0].counters]
        sentence += (" Where there are any: ticks made with the torque of an older tick (torque_gaps), ticks that came "
                     "a whole period late (overruns), observations that were sent again (resent).")
    return Chart("misses", "Deadline misses", sentence, line_chart(lines, _CLOCK, "count [1]", from_zero=True))


def _of_nodes(runs: Sequence[Run], key: str, title: str, sentence: str, unit: str,
              value: Callable[[Resources], np.ndarray]) -> Chart:
    lines = []
    for name in _node_names(runs):
        for i, run in enumerate(runs):
            if name not in run.resources:
                continue
            node = run.resources[name]
            alone = NODE_COLORS.get(name.partition(" ")[0], BLACK)
            lines.append(Line(name if len(runs) > 1 else "", run.name if len(runs) > 1 else name,
                              _color(runs, i, alone), node.time, value(node), mode="lines+markers"))
    return Chart(key, title, sentence, line_chart(lines, _CLOCK, unit, from_zero=True),
                 f"No {title.lower()} was told of any node: there was no monitor, or the hosts don't tell.")


def _node_names(runs: Sequence[Run]) -> list[str]:
    """Every node, in the order of their colors."""
    order = list(NODE_COLORS)
    names = dict.fromkeys(name for run in runs for name in run.resources)
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))
