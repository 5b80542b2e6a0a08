"""What a policy answers on the machine that runs this: the program that tests/arm64.py runs on each of them.

Arguments: a bundle, the name of its variant, a .npy of observations [m, observation_size], a .npz for the results. It
goes the policy node's way from an observation to the numbers of its answer, without ROS: numpy and LiteRT are all it
needs.
"""

import platform
import sys
from functools import partial
from pathlib import Path

import numpy as np

from ant_rl_core import bundle
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from ant_rl_core.timing import StageTimer
from ant_rl_ros.arrays import flat, unflat
from policy_node.actor import load_actor
from policy_node.safety import make_safe
from policy_node.slot import ActorSlot

path, variant, observations, results = sys.argv[1:]
slot = ActorSlot(partial(load_actor, variant=variant), ANT)
actor = slot.load(bundle.read_bytes(path)).actor
actor.warm_up(1)
first, before = np.ones(1, bool), Previous.none(1, ANT.action_size)
stages, actions, clipped, zeroed = StageTimer(), [], 0, 0
for row in np.load(observations):
    # There and back as in a message; each observation is the first of an episode, so that none depends on another.
    observation = unflat(flat(row), np.float32, (1, ANT.observation_size), "observation")
    with stages.stage("inference"):
        action, _, _ = actor.act(observation, before, actor.initial_state(1), first)
    action, *wrong = make_safe(action)
    clipped, zeroed = clipped + wrong[0], zeroed + wrong[1]
    actions.append(unflat(flat(action), np.float32, (ANT.action_size,), "torque"))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
np.savez(results, actions=actions, clipped=clipped, zeroed=zeroed, machine=platform.machine(),
         inference_p50=stages.summary()["inference"].p50,  # [s]
         peak_rss=int(status["VmHWM"].split()[0]) / 1024)  # [MiB]
