"""What belongs together is found, whichever half comes first."""

from viewer_node.pairs import Pairs


def test_the_newest_pair_once_and_the_other_half_later():
    pairs = Pairs()
    assert pairs.newest({1: "a1", 2: "a2", 3: "a3"}, {1: "b1", 2: "b2"}) == ("a2", "b2")
    assert pairs.newest({}, {}) is None
    assert pairs.newest({}, {3: "b3"}) == ("a3", "b3")
    assert pairs.newest({5: "a5"}, {4: "b4"}) is None
    assert pairs.newest({4: "a4"}, {}) == ("a4", "b4")
    assert pairs.newest({}, {5: "b5"}) == ("a5", "b5")


def test_a_clock_that_is_set_back_hides_no_newer_pair():
    pairs = Pairs()
    assert pairs.newest({moment: "old" for moment in range(1000, 1020)}, {1000: "b"}) == ("old", "b")
    for moment in range(30):
        assert pairs.newest({moment: f"a{moment}"}, {}) is None
        assert pairs.newest({}, {moment: f"b{moment}"}) == (f"a{moment}", f"b{moment}")


def test_a_topic_that_is_silent_takes_no_memory():
    pairs = Pairs()
    for moment in range(100):
        assert pairs.newest({moment: moment}, {}) is None
    assert pairs.newest({}, {moment: moment for moment in range(90)}) is None
    assert pairs.newest({}, {95: 95}) == (95, 95)
