"""`./run replay BAG [policy|env|trainer] key:=value …`: does it still do what was recorded?"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ant_rl_core import bundle, settings
from ant_rl_core.files import check_not_an_input, check_writable, write_atomically
from ant_rl_core.settings import Settings, setting, with_home
from ant_rl_tools.recorded import Recording
from ant_rl_tools.replay.outcome import Outcome
from ant_rl_tools.unavailable import Unavailable
from policy_node.actor import BACKENDS
from recorder_node.storage import BagError

_WIDTH = 100


@dataclass(frozen=True)
class ReplayConfig(Settings):
    """Settings of every replay."""

    namespace: str = setting("", "of the robots, where the bag holds several")
    summary: str = setting("", "path for the outcome as JSON; empty means none", path=True)


@dataclass(frozen=True)
class PolicyReplayConfig(ReplayConfig):
    """Settings of a replay to a policy node."""

    policy: str = setting("", "policy bundle, a path or the name of a shipped one; empty means the policies that the "
                          "bag holds, or default where it holds none", path=True)
    variant: str = setting(bundle.FLOAT32, "which of the policy's variants to run: float32, or a smaller one that its "
                           "bundle has, such as int8")
    backend: str = setting("litert", "litert or keras", choices=tuple(BACKENDS))
    explore: bool = setting(False, "explore as the policy's bundle says; bit-equal with the recorded seed, from the "
                            "first tick on")
    seed: int = setting(0, "seed of the exploration", minimum=0)
    memory_off: bool = setting(False, "for a recording with memory_off:=true: the policy starts anew at each tick")
    tolerance: float = setting(0.0, "largest difference of a torque that passes, as share of the actuator's limit; 0 "
                               "means bit-equal", minimum=0, below=2)


TARGETS = {
    "policy": (PolicyReplayConfig, "feed the recorded observations to a policy node and compare its torques with the "
                                   "recorded ones"),
    "env": (ReplayConfig, "feed the recorded torques to a fresh environment with the recorded seed: every observation "
                          "must be bit-equal"),
    "trainer": (ReplayConfig, "feed the recorded transitions to a learner: every policy and figure that was published "
                              "must be bit-equal"),
}


def main(bag: str, target: str, arguments: Mapping[str, str]) -> int:
    """Replay a bag to a target; returns 0 where it did what was recorded, 1 where not, 2 where it can't be told."""
    (config,) = settings.build([TARGETS[target][0]], arguments)
    bag = with_home("BAG", bag)
    if config.summary:
        check_writable("summary", config.summary)
        check_not_an_input("summary", config.summary, filter(None, (bag, getattr(config, "policy", ""))))
    try:
        with Recording(Path(bag), config.namespace or None) as recording:
            for note in recording.notes():
                print(f"ant_rl: {note}", file=sys.stderr)
            outcome = _replay(recording, target, config)
    except (BagError, Unavailable, bundle.BundleError, FloatingPointError) as error:
        print(f"ant_rl: {error}", file=sys.stderr)
        return 2
    if config.summary:
        try:
            write_atomically(config.summary, json.dumps(outcome.summary, indent=2).encode())
        except OSError as error:
            print("\n".join(outcome.lines))
            print(f"ant_rl: can't write the summary {config.summary} ({error.strerror}): make room or choose another "
                  "path", file=sys.stderr)
            return 1
    print("\n".join(outcome.lines))
    return 0 if outcome.passed else 1


def _replay(recording: Recording, target: str, config: ReplayConfig) -> Outcome:
    """The target's replay, imported when it is used: TensorFlow takes seconds, and a policy needs no physics."""
    if target == "env":
        from ant_rl_tools.replay import environment
        return environment.replay(recording)
    if target == "trainer":
        recording.require("policy")
        from ant_rl_tools.replay import learner
        return learner.replay(recording)
    assert isinstance(config, PolicyReplayConfig)  # as TARGETS says
    from ant_rl_tools.replay import policy
    return policy.replay(recording, config.policy, config.variant, config.backend, config.explore, config.seed,
                         config.memory_off, config.tolerance)


def help_text() -> str:
    """What the command does, and every setting with its default and meaning."""
    lines = ["usage: ./run replay BAG [policy|env|trainer] [key:=value …]", ""]
    for name, (_, what) in TARGETS.items():
        lines += textwrap.wrap(what, _WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)
    return "\n".join([*lines, "", "Without one of them: policy. Exit code 0: it does what was recorded, 1: it does "
                      "not, 2: that can't be told.", "", "settings, with their defaults:",
                      *settings.help_lines(ReplayConfig), "", "of policy:",
                      *settings.help_lines(PolicyReplayConfig)[2 * 2:]])
