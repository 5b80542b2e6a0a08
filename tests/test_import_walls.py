"""Imports run one way: core <- pure modules <- ROS side <- ant_rl <- ant_rl_tools; heavy libraries have one home."""

import ast
from pathlib import Path

import pytest
from walls import DESKTOP, LEARNING, SIMULATION, run_blocked

SOURCE = Path(__file__).resolve().parent.parent / "ros2_ws" / "src"
PYTHON_PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/setup.py"))
ROS = {"rclpy", "rcl_interfaces", "ament_index_python"}
MESSAGES = {"ant_rl_interfaces", "std_msgs", "sensor_msgs", "nav_msgs", "geometry_msgs", "rosgraph_msgs",
            "diagnostic_msgs", "std_srvs", "builtin_interfaces", "lifecycle_msgs"}
LAUNCH = {"launch", "launch_ros"}
# Where each package may look among the others.
ALLOWED = {
    "ant_rl_core": set(),
    "ant_rl_ros": {"ant_rl_core"},
    "ant_env_node": {"ant_rl_core", "ant_rl_ros"},
    "policy_node": {"ant_rl_core", "ant_rl_ros"},
    "monitor_node": {"ant_rl_core", "ant_rl_ros"},
    "recorder_node": {"ant_rl_core", "ant_rl_ros"},
    "viewer_node": {"ant_rl_core", "ant_rl_ros", "ant_env_node"},
    "trainer": {"ant_rl_core", "ant_rl_ros", "ant_env_node", "policy_node"},
    "ant_rl": {"ant_rl_core", "ant_rl_ros"},
    "ant_rl_tools": {"ant_rl_core", "ant_rl_ros", "ant_env_node", "policy_node", "trainer", "monitor_node",
                     "recorder_node", "viewer_node", "ant_rl"},
}
# Run as programs, the second by an interpreter that has stable-baselines3.
OWN_PROGRAMS = {"__main__", "sb3_worker"}
# The ROS side of each package, all of ant_rl_ros beside it. Every other module is pure: it names nothing of ROS, and it
# can be imported where there is none.
ROS_SIDE = {
    "ant_rl_core": set(),
    "ant_env_node": {"node", "codec", "services", "state_topics", "topics"},
    "policy_node": {"node", "updates"},
    "trainer": {"ros.node", "ros.codec", "ros.topics"},
    "monitor_node": {"node", "codec"},
    "recorder_node": {"node", "codec"},
    "viewer_node": {"node", "codec", "told"},
    "ant_rl": {"node", "node_commands", "launch_actions"},
    "ant_rl_tools": {"asker", "node_process", "own_node", "recorded", "bench.node", "bench.policy", "bench.lockstep",
                     "model.command", "model.reading", "replay.command", "replay.policy", "replay.environment",
                     "replay.learner", "report.command", "report.imaginer", "report.reading"},
}


def modules():
    for package in PYTHON_PACKAGES:
        yield from sorted((SOURCE / package / package).rglob("*.py"))


def imported(path):
    """Top-level names of everything a module imports, at its head or within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def touches_ros(path):
    """Whether a module is on the ROS side; all others are pure."""
    package = path.relative_to(SOURCE).parts[0]
    return package == "ant_rl_ros" or dotted(path).partition(".")[2] in ROS_SIDE[package]


def test_the_ros_side_is_named_and_every_name_is_needed():
    """A module is named because it says a name of ROS, or because it can't be imported without one that does."""
    for package, names in ROS_SIDE.items():
        paths = {dotted(path).partition(".")[2]: path for path in modules()
                 if path.relative_to(SOURCE).parts[0] == package}
        assert names <= set(paths), f"{package} has no {names - set(paths)}"
        beside = {dotted(path) for path in modules() if touches_ros(path)}
        for name in names:
            found = imported(paths[name]) & (ROS | MESSAGES | LAUNCH | {"ant_rl_ros"})
            assert found or imported_modules(paths[name], beside), f"{package}.{name} has nothing of ROS"


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: "/".join(path.relative_to(SOURCE).parts[1:]))
def test_a_module_stays_within_its_walls(path):
    package = path.relative_to(SOURCE).parts[0]
    found = imported(path)
    assert found & set(PYTHON_PACKAGES) <= ALLOWED[package] | {package}
    if not touches_ros(path):
        assert not found & (ROS | MESSAGES | LAUNCH | {"ant_rl_ros"})
    if path.stem == "codec":
        assert "rclpy" not in found
    if package not in ("trainer", "ant_rl_tools") and path.stem != "keras_actor":
        assert not found & LEARNING
    if package not in ("ant_env_node", "viewer_node", "ant_rl_tools"):
        assert not found & SIMULATION
    if path.stem != "rerun_view":
        assert "rerun" not in found


def dotted(path):
    """The name by which a module is imported; that of its package for an __init__.py."""
    parts = path.relative_to(SOURCE).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path, known):
    """Names among `known` of the modules that a module imports, at its head or within functions.

    A package itself counts only where something of its own is asked for: that it runs before its modules do makes no
    circle of those that it does not import.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = dotted(path).split(".")[:-node.level or None] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            below = {f"{base}.{alias.name}" for alias in node.names}
            found |= (below & known) | ({base} if below - known else set())
    return found & known - {dotted(path)}


def circles(graph):
    """The modules that lead back to themselves, with what lies on the way: strongly connected parts of the graph."""
    def reached(start):
        seen, ahead = set(), list(graph[start])
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += graph[name]
        return seen

    reach = {name: reached(name) for name in graph}
    return sorted({tuple(sorted(other for other in reach[name] if name in reach[other]))
                   for name in graph if name in reach[name]})


def import_graph():
    paths = {dotted(path): path for package in PYTHON_PACKAGES for path in (SOURCE / package / package).rglob("*.py")}
    return {name: imported_modules(path, set(paths)) for name, path in paths.items()}


def test_no_modules_import_each_other_in_a_circle():
    graph = import_graph()
    assert len(graph) > 150 and sum(map(len, graph.values())) > 500
    assert circles(graph) == []


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}) == [("b", "c"), ("e",)]


def test_pure_modules_import_without_ros():
    names = [dotted(path) for path in modules() if not touches_ros(path) and path.stem not in OWN_PROGRAMS]
    assert len(names) > 150
    done = run_blocked(ROS | MESSAGES | LAUNCH, "import importlib\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in names))
    assert done.returncode == 0, done.stderr


def test_the_core_needs_numpy_only():
    names = [dotted(path) for path in (SOURCE / "ant_rl_core" / "ant_rl_core").rglob("*.py")]
    third_party = {"yaml", "psutil", "tqdm", "matplotlib", "rich", "ai_edge_litert", "tflite_runtime"}
    done = run_blocked(ROS | MESSAGES | LEARNING | SIMULATION | third_party, "import importlib\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in names))
    assert done.returncode == 0, done.stderr


def test_the_policy_node_needs_no_desktop_library():
    code = ("import numpy as np\nfrom ant_rl_core import bundle\nfrom ant_rl_core.shipped import resolve_policy\n"
            "from ant_rl_core.step import Previous\n"
            "import policy_node.node\nfrom policy_node.actor import load_actor\n"
            "actor = load_actor(bundle.read(resolve_policy('default')))\n"
            "action, _, _ = actor.act(np.zeros((1, 105), np.float32), Previous.none(1, 8), actor.initial_state(1), "
            "np.ones(1, bool))\nassert action.shape == (1, 8) and np.isfinite(action).all()\n")
    done = run_blocked(DESKTOP, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("words", "code", "said"), [
    (["train", "--list"], 0, "\n  td7 "),
    (["train", "--help"], 0, "[ppo | a2c | ddpg | td3 | sac | td7 | dqn | mbpo | svg | i2a"),
    (["train", "algorithm:=td8"], 2, "algorithm must be ppo or a2c"), (["train", "td8"], 2, "unknown method 'td8'"),
    (["train", "td8", "--help"], 2, "unknown method 'td8'")])
def test_methods_are_named_without_a_learning_library(words, code, said):
    done = run_blocked(LEARNING, f"from ant_rl import cli\nsys.exit(cli.main({words!r}))")
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_methods_and_tasks_are_offered_without_numpy():
    done = run_blocked({"numpy"}, "from ant_rl import stack\nx = {x.name: x for x in stack.arguments_of('sim')}\n"
                                  "assert x['algorithm'].choices[:2] == ('ppo', 'a2c'), x['algorithm'].choices\n"
                                  "assert x['tasks'].choices[:2] == ('none', 'directions2'), x['tasks'].choices")
    assert done.returncode == 0, done.stderr


def test_without_a_trainer_any_method_may_be_named():
    """Where it has no entry point, as where it is not installed."""
    done = run_blocked({"trainer"}, "import importlib.metadata\n"
                       "importlib.metadata.Distribution.discover = classmethod(lambda cls, **_: iter(()))\n"
                       "from ant_rl import stack\n"
                       "assert stack.parse('sim', {'algorithm': 'mine'})['algorithm'] == 'mine'")
    assert done.returncode == 0, done.stderr


def test_the_wall_is_a_wall():
    assert run_blocked({"numpy"}, "import numpy").returncode != 0
