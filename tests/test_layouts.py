"""The layouts that ship: each names only topics and fields that exist, and shows what it should of every node."""

import ast
import importlib
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from ant_env_node.vec_env import VectorAnt
from ant_rl import stack
from ant_rl.node_commands import share_folder
from ant_rl_core.spec import ANT, JOINT_NAMES
from recorder_node.codec import STATS, TOPICS as RECORDED

NUMBERS = {"boolean", "float", "double", "octet", *(f"{sign}int{bits}" for sign in ("", "u")
                                                    for bits in (8, 16, 32, 64))}
NODES = {entry.name for arrangement in stack.ARRANGEMENTS
         for entry in stack.nodes(arrangement, {**stack.parse(arrangement, {}), "monitor": True, "status": True,
                                                "trainer": True, "record": "bag"})}
TOPICS = {**{f"/{name.lstrip('/')}": kind for name, kind in RECORDED.items()},
          **{f"/stats/{node}": STATS for node in NODES}}
FORWARD_SPEED = 13  # index in the observation, as docs/messages.md lists it
# What every layout shows, in the words of rqt_plot.
SHOWN = {"/episode/episode_return", f"/observation/observation[{FORWARD_SPEED}]", "/stats/env/round_trip_p50_ms",
         "/stats/env/round_trip_p99_ms", *(f"/stats/{node}/{figure}" for node in NODES
                                           for figure in ("cpu_percent", "rss_mib"))}


def read(name):
    return (share_folder() / "config" / name).read_text()


def number_at(kind, fields, size):
    """Whether `fields`, such as pose/pose/position/x or observation[13], lead to one number of a message."""
    first, _, rest = fields.partition("/")
    name, _, index = first.rstrip("]").partition("[")
    found = kind.get_fields_and_field_types().get(name, "")
    element = re.fullmatch(r"(?:sequence<(.+)>|(.+)\[\d+\])", found)
    if bool(element) != bool(index) or index and int(index) >= size:
        return False
    found = element[1] or element[2] if element else found
    if "/" not in found:
        return found in NUMBERS and not rest
    package, message = found.split("/")
    return number_at(getattr(importlib.import_module(f"{package}.msg"), message), rest, size)


def is_plain_number(curve):
    """Whether a curve, topic and fields joined by `/`, is a number on a topic of the stack."""
    return any(curve.startswith(f"{topic}/") and number_at(kind, curve[len(topic) + 1:], ANT.observation_size)
               for topic, kind in TOPICS.items())


def rqt():
    return json.loads(read("rqt.perspective"))["groups"]


def rqt_plots():
    """Settings of each plot in the perspective, as rqt evaluates them."""
    plugins = rqt()["pluginmanager"]
    assert ast.literal_eval(plugins["keys"]["running-plugins"]["repr"]) == {
        "rqt_plot/Plot": list(range(1, len(plugins["groups"]) + 1))}
    found = [plugins["groups"][f"plugin__rqt_plot__Plot__{number}"]["groups"]["plugin"]["keys"]
             for number in range(1, len(plugins["groups"]) + 1)]
    return [{key: ast.literal_eval(value["repr"]) for key, value in keys.items()} for keys in found]


def rqt_curves():
    return [topic for plot in rqt_plots()
            for topic in ([plot["topics"]] if isinstance(plot["topics"], str) else plot["topics"])]


def plotjuggler_curves():
    """PlotJuggler writes curves as rqt_plot does, but those of a joint state by the joint's name."""
    return [curve.get("name") for curve in ET.fromstring(read("plotjuggler.xml")).iter("curve")]


def foxglove():
    return json.loads(read("foxglove.json"))


def foxglove_curves():
    """Message paths, topic.field.field, in the words of rqt_plot."""
    return [path["value"].replace(".", "/") for panel in foxglove()["configById"].values()
            for path in panel.get("paths", [])]


def test_rqt_and_foxglove_name_plain_numbers_only():
    curves = rqt_curves() + foxglove_curves()
    assert [curve for curve in curves if not is_plain_number(curve)] == []


@pytest.mark.parametrize("curve, answer", [
    ("/odom/pose/pose/position/z", True), ("/joint_states/position[7]", True), ("/odom/pose/covariance[0]", True),
    ("/odom/pose/pose/position", False), ("/episode/return", False), ("/stats/nobody/rss_mib", False),
    ("/observation/observation", False), ("/observation/observation[105]", False), ("/stats/env/node", False),
    ("/stats/env/rss_mib/x", False), ("/nothing/at/all", False)])
def test_what_a_plain_number_is(curve, answer):
    assert is_plain_number(curve) is answer


def test_plotjuggler_names_plain_numbers_only():
    figures = set(JointState.get_fields_and_field_types()) - {"header", "name"}
    joints = {f"/joint_states/{joint}/{figure}" for joint in JOINT_NAMES for figure in figures}
    curves = plotjuggler_curves()
    assert [curve for curve in curves if curve not in joints and not is_plain_number(curve)] == []
    assert joints & set(curves)


@pytest.mark.parametrize("curves", [rqt_curves, plotjuggler_curves, foxglove_curves])
def test_each_layout_shows_return_speed_round_trip_and_every_node(curves):
    found = curves()
    assert {"env", "policy", "trainer", "monitor", "recorder", "status"} <= NODES
    assert SHOWN <= set(found) and len(found) == len(set(found))


def test_plotjuggler_subscribes_to_what_it_plots():
    root = ET.fromstring(read("plotjuggler.xml"))
    plugin = root.find("Plugins/plugin")
    assert plugin.get("ID") == root.find("previouslyLoaded_Streamer").get("name")
    topics = plugin.find("selected_topics").get("value").split(";")
    assert set(topics) == {topic for topic in TOPICS for curve in plotjuggler_curves() if curve.startswith(f"{topic}/")}


def test_plotjuggler_splitters_say_how_many_they_hold():
    splitters = list(ET.fromstring(read("plotjuggler.xml")).iter("DockSplitter"))
    assert splitters
    for splitter in splitters:
        sizes = [float(size) for size in splitter.get("sizes").split(";")]
        assert int(splitter.get("count")) == len(splitter) == len(sizes) and sum(sizes) == pytest.approx(1, abs=0.01)


def test_rqt_places_every_plot():
    for key in ("geometry", "state"):
        value = rqt()["mainwindow"]["keys"][key]
        assert value["type"] == "repr(QByteArray.hex)"
        content = re.fullmatch(r"QtCore\.QByteArray\(b'((?:[0-9a-f]{2})+)'\)", value["repr(QByteArray.hex)"])
        assert content
    names = bytes.fromhex(content[1])
    for number in range(1, len(rqt_plots()) + 1):
        assert f"rqt_plot__Plot__{number}__DataPlotWidget".encode("utf-16-be") in names


def test_foxglove_places_every_panel_once():
    def panels(node):
        return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])
    layout = foxglove()
    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    assert layout["configById"]["DiagnosticSummary!nodes"]["topicToRender"] == "/diagnostics"


def test_the_speed_is_that_along_x():
    """What the layouts plot as speed, times the time, is the way along x."""
    rng = np.random.default_rng(0)
    speeds, ways = [], []
    with VectorAnt(1) as env:
        env.reset(seed=0)
        for _ in range(20):
            observation, _, _, _, info = env.step(rng.uniform(-1, 1, (1, ANT.action_size)))
            speeds.append(observation[0, FORWARD_SPEED])
            ways.append(info["x_position"][0])
    steps = np.diff(ways)
    integrated = ANT.control_period * (np.array(speeds[1:]) + speeds[:-1]) / 2
    assert np.linalg.norm(steps - integrated) < 0.5 * np.linalg.norm(steps)
