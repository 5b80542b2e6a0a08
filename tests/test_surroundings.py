"""What is around decides nothing: every verb does the same in a hostile place, and leaves no shared memory behind."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import descendants, finish, read_until, start

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
# Modules that are taken for others, or run by themselves, where Python finds them first.
TRAPS = ("random", "runpy", "json", "numpy", "yaml", "gymnasium", "mujoco", "keras", "tensorflow", "matplotlib",
         "psutil", "rospy", "genpy", "std_msgs", "ant_rl", "trainer", "sitecustomize", "usercustomize")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder to be in, and variables to have."""
    folder, home = tmp_path_factory.mktemp("hostile"), tmp_path_factory.mktemp("home")
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the surroundings was run')\n")
    (folder / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\n")
    for name, text in {".keras/keras.json": json.dumps({"floatx": "float64", "backend": "torch"}),
                       ".config/matplotlib/matplotlibrc": "text.usetex: True\n"}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", home / "other"], check=True)
    return folder, {
        "HOME": str(home), "PYTHONPATH": f"{folder}:{os.environ['PYTHONPATH']}", "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": str(folder / "random.py"), "PYTHONUSERBASE": str(folder), "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "7", "PYTHONWARNINGS": "error", "PYTHONINSPECT": "", "PYTHONSAFEPATH": "",
        "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "0", "TF_USE_LEGACY_KERAS": "1", "MUJOCO_GL": "osmesa",
        "PYOPENGL_PLATFORM": "osmesa", "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "GIT_DIR": str(home / "other" / ".git"), "GIT_WORK_TREE": str(home), "CDPATH": "/:.",
        "ROS_PACKAGE_PATH": str(folder), "ROS_MASTER_URI": "http://localhost:11311", "PIP_TARGET": str(folder)}


class Twice:
    """`./run …` in both surroundings at the same time."""

    def __init__(self, hostile: tuple[Path, dict[str, str]], tmp_path: Path, domain: int) -> None:
        folder, variables = hostile
        self.places = {"clean": (tmp_path, {}), "hostile": (folder, variables)}
        self.outputs = tmp_path
        self.domains = {"ROS_DOMAIN_ID": str(domain)}

    def run(self, *words: str) -> list[str]:
        """What both print; OUT in a word is a folder of its own for each."""
        for name in self.places:
            (self.outputs / name).mkdir(exist_ok=True)
        started = [subprocess.Popen([ROOT / "run", *(word.replace("OUT", str(self.outputs / name)) for word in words)],
                                    cwd=folder, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **self.domains, **more},
                                    text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT) for name, (folder, more) in self.places.items()]
        said = [process.communicate(timeout=120)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], "\n".join(said)
        assert "of the surroundings" not in said[1]
        return said

    def files(self, name: str) -> list[str]:
        """A file of both."""
        return [(self.outputs / place / name).read_text() for place in self.places]


@pytest.fixture
def twice(hostile, tmp_path, ros_domain):
    return Twice(hostile, tmp_path, ros_domain)


def test_evaluation(twice):
    clean, found = twice.run("eval", "ppo", "episodes:=1", "seed:=3")
    assert clean == found and "seed 3: return" in clean


def test_training(twice):
    """Every number, and whose code it was."""
    twice.run("train", "ppo", "total_steps:=128", "num_envs:=2", "rollout_length:=32", "minibatch_size:=32",
              "max_episode_steps:=30", "evaluation_episodes:=1", "curve_interval:=1", "output:=OUT/run")
    for name in ("curve.csv", "evaluation.csv"):
        rows = [[{key: value for key, value in row.items() if "second" not in key}
                 for row in csv.DictReader(text.splitlines())] for text in twice.files(f"run/{name}")]
        assert rows[0] == rows[1] and rows[0]
    versions = {json.loads(text)["code_version"] for text in twice.files("run/config.json")}
    assert len(versions) == 1 and versions != {"unknown"}
    pictures = [(twice.outputs / place / "run" / "curve.png").stat().st_size for place in twice.places]
    assert min(pictures) > 0.8 * max(pictures)  # no TeX, no red: alike but for the times in it


@pytest.fixture
def astray(hostile, ros_domain):
    """`./run …` in the hostile place alone, for what compares bits itself."""
    folder, variables = hostile

    def run(*words: str, **more: str) -> str:
        done = subprocess.run([ROOT / "run", *words], cwd=folder, text=True, stdin=subprocess.DEVNULL, timeout=120,
                              env={**os.environ, **variables, "ROS_DOMAIN_ID": str(ros_domain), **more},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0 and "of the surroundings" not in done.stdout, f"{words}: {done.stdout}"
        return done.stdout
    return run


def test_recordings(astray, tmp_path):
    """The golden one was made elsewhere: what it says of physics and policy holds here, too."""
    golden = str(GOLDEN / "default")
    astray("replay", golden, "env")
    astray("replay", golden)
    astray("report", golden, f"output:={tmp_path}/page.html")
    assert (tmp_path / "page.html").stat().st_size > 1e6
    shutil.copytree(golden, tmp_path / "copy")
    assert "messages of" in astray("repair", f"{tmp_path}/copy")
    assert "usage" in astray("bench", "--help")


def test_a_whole_stack(astray, tmp_path):
    """Nodes are processes of their own, and here have no HOME that can be written either."""
    astray("sim", "policy:=ppo", "episodes:=1", "seed:=3", "render_hz:=1", f"summary:={tmp_path}/summary.json",
           HOME="/dev/null")
    [episode] = json.loads((tmp_path / "summary.json").read_text())["episodes"]
    assert f"{episode['return']:.1f}" in astray("eval", "ppo", "episodes:=1", "seed:=3")


# Shared memory


@pytest.fixture
def apart() -> list[str]:
    """A command before another that gives it shared memory of its own, of which it lists what is left."""
    become = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
    if subprocess.run([*become, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    return [*become, "sh", "-c",
            'mount -t tmpfs tmpfs /dev/shm && "$@"; code=$?; echo "left: $(ls /dev/shm)"; exit $code', "sh"]


def test_nodes_leave_shared_memory_alone(apart, ros_domain):
    """One that is killed while it holds a lock there would keep all others waiting."""
    process = start([*apart, sys.executable, "-m", "ant_rl", "sim"], ROS_DOMAIN_ID=str(ros_domain))
    read_until(process, "ticks/s, round trip")
    nodes = [each for each in descendants(process) if "/ant_rl" in " ".join(each.cmdline())]
    assert len(nodes) >= 4
    assert not [used.path for node in nodes for used in node.memory_maps() if "/dev/shm/fast" in used.path]
    [supervisor] = [each for each in descendants(process) if "ant_rl" in each.cmdline()]
    supervisor.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 0 and "left: " in said and not [name for name in said.partition("left: ")[2].split()
                                                   if "fast" in name], said
