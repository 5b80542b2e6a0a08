"""The slot: swaps happen between ticks, refusals keep the old actor, the newest offer wins."""

import io
import threading
import zipfile

import pytest
from policy_bundles import manifest

from ant_rl_core import bundle
from ant_rl_core.bundle import BundleError
from ant_rl_core.spec import ANT
from ant_rl_core.testing import FakeActor
from policy_node.slot import ActorSlot

WAIT = 10.0


class PreparedActor(FakeActor):
    """Remembers what it was prepared for."""

    prepared = None

    def warm_up(self, num_envs):
        self.prepared = num_envs, threading.current_thread().name


class Loader:
    """Makes actors; loads of `held` versions wait until they are let go."""

    def __init__(self):
        self.loaded, self.begun, self.held = [], {}, {}

    def hold(self, version):
        self.begun[version], self.held[version] = threading.Event(), threading.Event()

    def __call__(self, checked):
        version = checked.manifest.version
        if version in self.held:
            self.begun[version].set()
            assert self.held[version].wait(WAIT)
        self.loaded.append(version)
        if "fail" in checked.manifest.provenance:
            raise BundleError(checked.manifest.provenance["fail"])
        return PreparedActor(version=version)


def packed(version, **changes):
    return bundle.pack(manifest(version, **changes), {"actor.tflite": b"x" * 100}, {})


def offer(slot, version, data=None, sha256=None):
    data = packed(version) if data is None else data
    slot.offer(data, version, bundle.sha256(data) if sha256 is None else sha256)


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def slot(loader):
    made = ActorSlot(loader, ANT)
    made.load(packed(3))
    return made


def test_an_offer_runs_from_the_next_swap_on(slot):
    slot.num_envs = 16
    offer(slot, 4)
    assert slot.settle(WAIT) and slot.current.version == 3
    assert slot.swap() and slot.current.version == 4 and slot.current.sha256 == bundle.sha256(packed(4))
    assert slot.current.actor.prepared == (16, "policy loader")
    assert not slot.swap() and slot.refusals() == []


def test_a_policy_is_run_by_its_path(slot, tmp_path):
    path = tmp_path / "policy.zip"
    path.write_bytes(packed(1))
    assert slot.load_named(str(path)) == f"running policy version 1 from {path}"
    assert slot.current.version == 1


def test_a_policy_that_can_not_be_used_is_named_and_the_old_one_stays(slot, tmp_path, monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    path = tmp_path / "policy.zip"
    with pytest.raises(BundleError, match=f"^{path}: expected a policy bundle, found none"):
        slot.load_named(str(path))
    path.write_bytes(packed(5, observation_size=7))
    with pytest.raises(BundleError, match=f"^{path}: .*7"):
        slot.load_named(str(path))
    with pytest.raises(BundleError, match="found 'walker'; shipped: none was found"):
        slot.load_named("walker")
    assert slot.current.version == 3


def test_the_first_actor_may_come_as_an_offer(loader):
    slot = ActorSlot(loader, ANT)
    assert slot.current is None and not slot.swap()
    offer(slot, 0)
    assert slot.settle(WAIT) and slot.swap() and slot.current.version == 0


def test_the_running_actor_goes_on_while_another_is_loaded(slot, loader):
    loader.hold(4)
    offer(slot, 4)
    assert loader.begun[4].wait(WAIT)
    assert not slot.swap() and slot.current.version == 3 and not slot.settle(0)
    loader.held[4].set()
    assert slot.settle(WAIT) and slot.swap() and slot.current.version == 4


def test_of_several_offers_the_newest_wins_and_those_between_are_not_loaded(slot, loader):
    loader.hold(4)
    offer(slot, 4)
    assert loader.begun[4].wait(WAIT)
    for version in (5, 6, 7):
        offer(slot, version)
    loader.held[4].set()
    assert slot.settle(WAIT) and loader.loaded == [3, 4, 7]
    assert slot.swap() and slot.current.version == 7 and not slot.swap()


@pytest.mark.parametrize("version, data, sha256, sentence", [
    (2, None, None, "version 3 is here already, an update must have a higher one"),
    (3, packed(3, provenance={"other": 1}), None, "version 3 is here already"),
    (4, None, "0" * 64, f"expected bytes with the sha256 {'0' * 64}, found "),
    (4, None, "", "sha256 (none), found "),
    (4, packed(4)[:-1], bundle.sha256(packed(4)), "expected bytes with the sha256"),
    (4, packed(4)[:-1], None, "not a whole bundle"),
    (4, packed(5), None, "the update says version 4, its bundle says 5"),
    (4, packed(4, observation_size=27), None, "the robot has 105 observations and 8 actions, but the bundle was made "
                                              "for 27 and 8"),
    (4, packed(4, action_size=6), None, "made for 105 and 6"),
    (4, packed(4, robot="Spot"), None, "expected a policy for Ant-v5, found one for Spot"),
    (4, packed(4, provenance={"fail": "expected a graph, found none"}), None, "expected a graph, found none"),
    (4, bytes(70_000_000), "0", "it has 70000000 bytes, at most 67108864 are allowed"),
])
def test_refusals_name_the_reason_and_keep_the_old_actor(slot, version, data, sha256, sentence):
    running = slot.current
    offer(slot, version, data, sha256)
    assert slot.settle(WAIT) and not slot.swap() and slot.current is running
    (said,) = slot.refusals()
    assert said.startswith(f"refused policy version {version}: ") and said.endswith("; version 3 goes on")
    assert sentence in said and slot.refusals() == []
    offer(slot, 9)  # and the slot works on
    assert slot.settle(WAIT) and slot.swap() and slot.current.version == 9


def test_any_failure_of_a_loader_is_a_refusal(slot):
    slot._load = lambda checked: 1 / 0
    offer(slot, 4)
    assert slot.settle(WAIT) and not slot.swap() and "division by zero; version 3 goes on" in slot.refusals()[0]


def test_a_smaller_limit_holds_for_packed_and_unpacked_bytes(loader):
    slot = ActorSlot(loader, ANT, max_bytes=1000)
    offer(slot, 1)
    assert slot.settle(WAIT) and slot.swap()
    data = bundle.pack(manifest(2), {"actor.tflite": bytes(100_000)}, {})
    offer(slot, 2, data)
    assert slot.settle(WAIT) and not slot.swap() and f"it has {len(data)} bytes, at most 1000" in slot.refusals()[0]
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    offer(slot, 2, packed.getvalue())
    assert slot.settle(WAIT) and not slot.swap()
    assert slot.current.version == 1 and "unpacks to" in slot.refusals()[0]


def test_what_is_delivered_twice_is_neither_loaded_nor_refused_again(slot, loader):
    offer(slot, 3)
    offer(slot, 4)
    offer(slot, 4)
    assert slot.settle(WAIT) and slot.swap()
    offer(slot, 4)
    assert slot.settle(WAIT) and loader.loaded == [3, 4] and slot.refusals() == []


def test_a_failed_offer_may_come_again(slot):
    offer(slot, 4, sha256="0" * 64)
    assert slot.settle(WAIT)
    offer(slot, 4)
    assert slot.settle(WAIT) and slot.swap() and slot.current.version == 4


def test_a_command_loads_at_once_and_may_go_back(slot, loader):
    offer(slot, 8)
    assert slot.settle(WAIT)
    assert slot.load(packed(1)).version == 1 and slot.current.version == 1
    assert not slot.swap(), "what was offered before the command is void"
    offer(slot, 2)
    assert slot.settle(WAIT) and slot.swap() and slot.current.version == 2


def test_a_refused_command_keeps_the_old_actor(slot):
    running = slot.current
    for wrong in (b"", packed(9)[:-3], packed(9, observation_size=27)):
        with pytest.raises(BundleError):
            slot.load(wrong)
    assert slot.current is running


def test_a_command_overrules_what_is_being_loaded(slot, loader):
    loader.hold(4)
    offer(slot, 4)
    assert loader.begun[4].wait(WAIT)
    slot.load(packed(1))
    loader.held[4].set()
    assert slot.settle(WAIT) and not slot.swap() and slot.current.version == 1


def test_what_comes_after_a_command_is_loaded_though_an_overruled_load_is_under_way(slot, loader):
    loader.hold(4)
    offer(slot, 4)
    assert loader.begun[4].wait(WAIT)
    slot.load(packed(1))
    offer(slot, 2)
    loader.held[4].set()
    assert slot.settle(WAIT) and loader.loaded == [3, 1, 4, 2]
    assert slot.swap() and slot.current.version == 2
