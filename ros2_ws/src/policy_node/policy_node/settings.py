"""Parameters of the policy node."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core import bundle
from ant_rl_core.modes import MODES
from ant_rl_core.settings import Settings, setting
from policy_node.actor import BACKENDS


@dataclass(frozen=True)
class PolicySettings(Settings):
    """Parameters of the policy node."""

    mode: str = setting("lockstep", "how the environment runs: lockstep or realtime", choices=MODES)
    policy: str = setting("default", "path of a policy bundle, or the name of a shipped one; empty: wait for the topic",
                        path=True)
    backend: str = setting("litert", "what runs the actor: litert is small and fast, keras needs TensorFlow",
                           choices=tuple(BACKENDS))
    variant: str = setting(bundle.FLOAT32, "which of the bundle's variants to run, such as float32 or int8")
    explore: bool = setting(False, "explore as the bundle says (learning needs it) instead of taking the best action")
    seed: int = setting(0, "seed of the exploration", minimum=0)
    max_policy_bytes: int = setting(bundle.MAX_BUNDLE_BYTES, "largest bundle that is accepted", unit="bytes", minimum=1)
    memory_off: bool = setting(False, "start anew at each tick: states and what happened before are zeros, as at the "
                               "first tick of a trial", read_only=False)
    listeners: int = setting(0, "answer only once this many subscribers of joint_torques are there, for 10 s at most",
                             minimum=0)
