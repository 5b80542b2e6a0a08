#!/usr/bin/env python3
"""Whether policies answer on a Raspberry Pi what they answer here: tests/arm64.py [--cache DIR] [BUNDLE …]

Makes the userland of a Pi (Debian for arm64, Python, the wheels of requirements/pi.txt), lets QEMU run the policy
node's way from an observation to torques in it (arm64_actions.py) as a Pi 4 and as a Pi 5, runs the same program on
this x86-64 computer, and compares what every LiteRT variant of every bundle says to the same observations. The bundles
are those that ship, unless some are named. Exit code 0: all are equal as far as is allowed; 1: some are not; 2: it
can't run.

Needs: apt-get install qemu-user-static debootstrap fakeroot.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if importlib.util.find_spec("ant_rl_core") is None:  # not in the environment yet: ./run knows the way
    os.execv(ROOT / "run", [str(ROOT / "run"), "exec", "python", *sys.argv])

import numpy as np  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from arm64_userland import COMPUTERS, SOURCES, CannotRunError, Userland, check_tools, last_line, run  # noqa: E402

from ant_env_node.vec_env import VectorAnt  # noqa: E402
from ant_rl_core import bundle  # noqa: E402
from ant_rl_core.bundle import Bundle, BundleError  # noqa: E402
from ant_rl_core.shipped import resolve_policy, shipped_policies  # noqa: E402
from ant_rl_core.spec import ANT  # noqa: E402
from ant_rl_core.step import TimeStepEnv  # noqa: E402
from policy_node.actor import load_actor  # noqa: E402
from policy_node.litert_actor import LiteRTGraph  # noqa: E402
from trainer.compress.litert_file import LiteRTFile  # noqa: E402
from trainer.loop import drive  # noqa: E402

PROGRAM = Path(__file__).with_name("arm64_actions.py")
ROWS, ROBOTS, SEED = 200, 10, 0

# Float actors round differently where sums are made in another order, and not more than that.
FLOAT_DIFFERENCE = 1e-5
# Relative; what another order of a sum of about a hundred products does to a float32: a few units in its last place.
ROUNDING, DRAWS = 2.0**-22, 300


@dataclass(frozen=True)
class Answers:
    """What one variant did on one computer: see arm64_actions.py.

    Attributes:
        actions: float32 [m, action_size], as they would be sent.
        unsafe: (clipped elements, zeroed rows).
        inference_p50: [s].
        peak_rss: [MiB], of the process; with the emulator's own where there is one.
    """

    actions: np.ndarray
    unsafe: tuple[int, int]
    inference_p50: float
    peak_rss: float


@dataclass(frozen=True)
class Allowed:
    """How far actions may be apart: largest difference, and the rows in which it may exceed FLOAT_DIFFERENCE."""

    difference: float
    rows: int = ROWS


def answers(done: subprocess.CompletedProcess[str], results: Path, machine: str) -> Answers | str:
    """What arm64_actions.py wrote to `results` on a machine of this kind, or, where it failed, its last words."""
    if done.returncode:
        return last_line(done)
    with np.load(results) as found:
        if found["machine"] != machine:
            return f"expected a processor of the kind {machine}, found {found['machine']}"
        return Answers(found["actions"], (int(found["clipped"]), int(found["zeroed"])),
                       float(found["inference_p50"]), float(found["peak_rss"]))


def output_step(model: bytes) -> float | None:
    """How far one step of the last quantized numbers moves an action [1]; None where that can't be told.

    The edges of a graph are float32, so the action is no quantized number itself. One step, the scale, of a number
    reaches it unchanged through a change of type, no larger through a tanh, whose slope is at most 1, and times a
    weight through a layer that sums in float32. It can't be told where steps are found at each run, or where other
    operations or sparse weights lie between.
    """
    file, scales = LiteRTFile(model), _scales(model)
    producers = {i: operation for operation in file.operations for i in operation.targets}
    index, gain = file.targets["action"], np.eye(ANT.action_size)
    while not scales[index].size:
        operation = producers.get(index)
        name = operation.name if operation else ""
        if name == "FULLY_CONNECTED":
            weights = operation.sources[1]
            if weights in producers:  # float16, made float32 before it is multiplied
                weights = producers[weights].sources[0]
            if scales[weights].size or weights not in file.constants:
                return None
            gain = gain @ np.abs(file.constants[weights].astype(np.float64))
        elif name not in ("DEQUANTIZE", "TANH"):
            return None
        index = operation.sources[0]
    return float(gain.max() * scales[index].max())


def _scales(model: bytes) -> dict[int, np.ndarray]:
    """The quantization steps of each tensor of a graph by its index, none for one that is not quantized."""
    return {tensor["index"]: tensor["quantization_parameters"]["scales"]
            for tensor in Interpreter(model_content=model).get_tensor_details()}


def allowed(model: bytes, observations: np.ndarray) -> Allowed:
    """How far the actions of a graph on another computer may be from those here.

    Float: FLOAT_DIFFERENCE. Quantized: that and one step, as far as it moves an action, in a few rows. In which rows?
    A number that lies between two steps may fall to either side when float32 sums are rounded otherwise. How many do is
    counted by rounding the observations otherwise, here, DRAWS times. Where it can't be told how far a step moves an
    action, the largest difference that this makes stands for it. Another computer is one more draw: it exceeds the
    largest once in DRAWS + 1 times.

    Args:
        model: LiteRT graph.
        observations: float32 [m, observation_size].
    """
    if not any(scales.size for scales in _scales(model).values()):
        return Allowed(FLOAT_DIFFERENCE)
    graph, random = LiteRTGraph(model), np.random.default_rng(SEED)
    states = {name: np.zeros((1, *shape), np.float32) for name, shape in graph.inputs.items() if name != "observation"}

    def act(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([graph({"observation": row[None], **states})["action"] for row in rows])

    exact, largest, most_rows = act(observations), 0.0, 0
    for _ in range(DRAWS):
        rounded = observations * (1 + random.uniform(-ROUNDING, ROUNDING, observations.shape)).astype(np.float32)
        differences = np.abs(act(rounded) - exact).max(axis=1)
        largest = max(largest, float(differences.max()))
        most_rows = max(most_rows, _beyond(differences))
    step = output_step(model)
    return Allowed((largest if step is None else step) + FLOAT_DIFFERENCE, most_rows)


def _beyond(differences: np.ndarray) -> int:
    return int((differences > FLOAT_DIFFERENCE).sum())


def verdict(here: Answers, there: Answers, limit: Allowed) -> tuple[float, int, str]:
    """Largest difference, rows beyond FLOAT_DIFFERENCE, and "" or what is wrong."""
    differences = np.abs(there.actions - here.actions).max(axis=1)
    largest, rows = float(differences.max()), _beyond(differences)
    if not math.isfinite(largest) or largest > limit.difference:
        return largest, rows, f"expected actions at most {limit.difference:.2g} apart, found {largest:.2g}"
    if rows > limit.rows:
        return largest, rows, (f"expected at most {limit.rows} rows more than {FLOAT_DIFFERENCE:g} apart, found {rows}")
    if here.unsafe != there.unsafe:
        return largest, rows, (f"expected {here.unsafe[0]} clipped elements and {here.unsafe[1]} zeroed rows, found "
                               f"{there.unsafe[0]} and {there.unsafe[1]}")
    return largest, rows, ""


def realistic(read: Bundle) -> np.ndarray:
    """float32 [ROWS, observation_size]: what robots give that the bundle's first variant drives, every tenth tick."""
    actor = load_actor(read, variant=next(iter(read.variants(".tflite"))))
    with VectorAnt(ROBOTS, SEED, num_threads=1) as ant:
        env = TimeStepEnv(ant)
        moves = islice(drive(env, actor, env.reset()), 10 * ROWS // ROBOTS)
        ticks = [move.after.observation.copy() for move in moves]
    return np.concatenate(ticks[::10])


def compare(userland: Userland, name: str, read: Bundle, path: Path, folder: Path) -> Iterator[str]:
    """Prints a row for each variant of a bundle and each computer; gives a sentence for each that is not equal."""
    observations = realistic(read)
    np.save(folder / "observations.npy", observations)
    for variant, member in read.variants(".tflite").items():
        results = folder / "results.npz"
        arguments = [str(PROGRAM), str(path), variant, str(folder / "observations.npy"), str(results)]
        sources = os.pathsep.join(map(str, SOURCES))
        here = answers(run([sys.executable, *arguments], {**os.environ, "PYTHONPATH": sources}), results, "x86_64")
        if isinstance(here, str):
            yield f"{name} {variant} can't be run on this computer: {here}"
            continue
        _print_row(name, variant, "this one", "", "", "", here, "")
        limit = allowed(read.member(member), observations)
        for computer in COMPUTERS:
            there = answers(userland.run(computer, arguments), results, "aarch64")
            if isinstance(there, str):
                _print_row(name, variant, computer.name, "", "", "", None, "refused")
                yield f"{name} {variant} can't be run on a {computer.name}: {there}"
                continue
            largest, rows, wrong = verdict(here, there, limit)
            _print_row(name, variant, computer.name, f"{largest:.2e}", f"{limit.difference:.2e}",
                       f"{rows} of {ROWS}", there, "differs" if wrong else "equal")
            if wrong:
                yield f"{name} {variant} on a {computer.name}: {wrong}"


def _print_row(name: str, variant: str, computer: str, largest: str, limit: str, rows: str, found: Answers | None,
               word: str) -> None:
    p50, rss = (f"{1e6 * found.inference_p50:.0f}", f"{found.peak_rss:.0f}") if found else ("", "")
    print(f"{name:<10} {variant:<19} {computer:<8} {largest:>9} {limit:>9} {rows:>10} {p50:>9} {rss:>9}  {word}",
          flush=True)


def read_bundles(words: Sequence[str]) -> dict[Path, Bundle]:
    """The named bundles, or all that ship, checked; BundleError tells what can't be used."""
    paths = [resolve_policy(word) for word in words] or sorted(shipped_policies().values())
    found = {path: bundle.read(path) for path in paths}
    for path, read in found.items():
        read.check_robot(ANT.name, ANT.observation_size, ANT.action_size)
        if not read.variants(".tflite"):
            raise BundleError(f"{path}: expected a bundle with LiteRT graphs, found {', '.join(read.members)} only: "
                              "export the policy anew")
    return found


def main(words: Sequence[str]) -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="path or name of a shipped one; none: every one")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ant_rl" / "arm64",
                        help="folder for the userland, 0.4 GB (default: %(default)s)")
    given = parser.parse_args(words)
    try:
        if platform.machine() != "x86_64":
            raise CannotRunError(f"expected an x86-64 computer to compare with, found {platform.machine()}: call this "
                                 "on the desktop")
        check_tools()
        bundles = read_bundles(given.bundles)
        userland = Userland(given.cache.absolute())
        print(f"{'policy':<10} {'variant':<19} {'computer':<8} {'largest':>9} {'allowed':>9} {'rows >1e-5':>10} "
              f"{'p50 [us]':>9} {'RSS [MiB]':>9}  actions of the Pis, emulated by QEMU, and of this one")
        with tempfile.TemporaryDirectory() as folder:
            wrong = [sentence for path, read in bundles.items()
                     for sentence in compare(userland, path.stem, read, path, Path(folder))]
    except (CannotRunError, BundleError) as error:
        print(f"arm64: {error}", file=sys.stderr)
        return 2
    print("Times and memory of the Pis are those of the emulation: real ones are faster and smaller.")
    for sentence in wrong:
        print(f"arm64: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
