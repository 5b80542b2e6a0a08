"""A new version in mid-trial: a learner in one process and a policy node go on with the same memory, or with none."""

from collections import Counter
from contextlib import closing

import numpy as np

from ant_rl_core.spec import ANT
from ant_rl_core.testing import FakeActor, FakeVectorEnv
from ant_rl_core.tick import Tick
from ant_rl_core.timing import StageTimer
from policy_node.responder import Responder
from policy_node.slot import ActorSlot, Loaded
from trainer.loop import drive

TICKS, SWAPS = 24, {2: 2, 7: 3, 8: 4, 15: 5}  # ticks from which another version acts; the trials have 6 and 8 ticks


def robots():
    return FakeVectorEnv(2, lengths=(3, 4), episodes_per_trial=2)


def by_a_learner():
    """Actions of a learner that acts itself and makes a new version now and then, and how far its memory reaches."""
    learner, found = FakeActor(version=1, recurrent=True, memory_id="kin"), []
    env = robots()
    with closing(drive(env, learner, env.reset())) as moves:
        for tick in range(TICKS):
            learner.version = SWAPS.get(tick, learner.version)
            found.append(next(moves).action)
    return found


def by_a_node(memory_id):
    """The same of a policy node that is sent each version, with this in its manifest."""
    slot = ActorSlot(lambda checked: None, ANT)
    slot.current = Loaded(FakeActor(version=1, recurrent=True, memory_id=memory_id), "")
    responder = Responder(slot, ANT, 1, Counter(), StageTimer())
    env, found = robots(), []
    tick = Tick(5, 0, env.reset())
    for step_id in range(TICKS):
        if step_id in SWAPS:
            slot._ready = Loaded(FakeActor(version=SWAPS[step_id], recurrent=True, memory_id=memory_id), "")
        answer = responder.answer(tick)
        found.append(answer.action)
        tick = Tick(5, step_id + 1, env.step(answer.action), answer.action, {}, answer.policy_version)
    return found


def test_policies_of_one_learner_go_on_with_its_memory_on_both_sides():
    assert np.array_equal(by_a_learner(), by_a_node("kin"))


def test_policies_that_name_no_kin_begin_anew_at_the_swap_so_that_a_learner_must_name_one():
    equal = (np.array(by_a_learner()) == np.array(by_a_node(None))).all(axis=(1, 2))
    assert equal[:2].all() and not equal[2]
