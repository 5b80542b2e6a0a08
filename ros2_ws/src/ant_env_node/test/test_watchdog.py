from ant_env_node.watchdog import PolicyLock, TorqueWatchdog


def test_the_lock_keeps_the_first_policy_and_names_the_rival():
    lock = PolicyLock(silence=1.0)
    assert lock.admit(7, 10.0)
    assert not lock.admit(8, 10.5)
    assert (lock.owner, lock.rival) == (7, 8)
    assert lock.admit(7, 11.2)


def test_the_lock_turns_to_another_policy_after_silence():
    lock = PolicyLock(silence=1.0)
    assert lock.admit(7, 10.0)
    assert not lock.admit(8, 10.99)
    assert lock.admit(8, 11.0)
    assert not lock.admit(7, 11.1)
    assert lock.owner == 8


def test_the_lock_tells_a_successor_from_one_that_is_there_beside_the_owner():
    lock = PolicyLock(silence=1.0)
    assert lock.admit(7, 10.0) and not lock.admit(8, 10.9) and lock.admit(8, 11.0) and lock.admit(8, 11.1)
    assert lock.beside is None, "7 was never heard again"
    assert not lock.admit(9, 11.2) and lock.admit(8, 11.3)
    assert lock.beside == 9


def test_the_lock_tells_of_one_that_comes_back():
    lock = PolicyLock(silence=1.0)
    assert lock.admit(7, 10.0) and lock.admit(8, 12.0) and lock.admit(7, 14.0)
    assert lock.beside == 8


def test_torque_counts_until_its_observation_is_too_old():
    watchdog = TorqueWatchdog(timeout=0.1)
    assert watchdog.current(0.0) is None and not watchdog.heard
    watchdog.sent(0, 1.00)
    assert watchdog.received(0, "torque 0")
    assert watchdog.heard and watchdog.answers(0)
    assert watchdog.current(1.05) == "torque 0"
    watchdog.sent(1, 1.05)
    assert not watchdog.answers(1)
    assert watchdog.current(1.099) == "torque 0"
    assert watchdog.current(1.101) is None
    assert watchdog.received(1, "torque 1")
    assert watchdog.current(1.101) == "torque 1"


def test_a_late_answer_does_not_become_young_by_arriving():
    watchdog = TorqueWatchdog(timeout=0.1)
    watchdog.sent(0, 1.0)
    assert watchdog.received(0, "late")
    assert watchdog.current(1.5) is None


def test_older_and_unknown_answers_are_stale():
    watchdog = TorqueWatchdog(timeout=0.1)
    for step_id in range(3):
        watchdog.sent(step_id, step_id * 0.05)
    assert watchdog.received(2, "new")
    assert not watchdog.received(1, "old")
    assert not watchdog.received(2, "twice")
    assert not watchdog.received(9, "from the future")
    assert watchdog.current(0.12) == "new"


def test_it_forgets_observations_long_past():
    watchdog = TorqueWatchdog(timeout=0.1)
    for step_id in range(10_000):
        watchdog.sent(step_id, step_id * 0.05)
    assert len(watchdog._sent) < 50
    assert not watchdog.received(5, "ancient")
