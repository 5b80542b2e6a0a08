"""Holds the running actor and exchanges it between two ticks; what does not fit is refused and the old one stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ant_rl_core import bundle
from ant_rl_core.bundle import Bundle, BundleError
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import RobotSpec
from policy_node.actor import BundleActor


@dataclass(frozen=True)
class Loaded:
    """An actor that is ready to run, and the hash of the bundle it came from."""

    actor: BundleActor
    sha256: str

    @property
    def version(self) -> int:
        """Version of the policy."""
        return self.actor.version


@dataclass(frozen=True)
class _Offer:
    data: bytes
    version: int
    sha256: str


class ActorSlot:
    """The place of the running actor.

    `offer` is for updates while the robot runs: it returns at once, a thread checks and loads, and the next `swap`
    makes the new actor the running one. `load` is for the start and for commands: it checks, loads and swaps in the
    calling thread. `offer`, `load` and `swap` are called by one thread, which also runs the actor.

    Args:
        load: makes an actor of a checked bundle; BundleError refuses.
        spec: the robot that actors must fit.
        max_bytes: largest bundle that is accepted.

    Attributes:
        current: the running actor; None until there is one. Only `load` and `swap` change it.
        num_envs: rows for which new actors are prepared while they are loaded; 0: unknown yet.
    """

    def __init__(self, load: Callable[[Bundle], BundleActor], spec: RobotSpec,
                 max_bytes: int = bundle.MAX_BUNDLE_BYTES) -> None:
        self.current: Loaded | None = None
        self.num_envs = 0
        self._load = load
        self._spec = spec
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        # What the loading thread and the others share, under the lock of `_changed`:
        self._loading: _Offer | None = None
        self._next: _Offer | None = None
        self._ready: Loaded | None = None
        self._refusals: list[str] = []
        self._thread_runs = False
        self._overruled = 0  # how often `load` made what was offered before it void

    def load(self, data: bytes) -> Loaded:
        """Check, load and run the bundle now, whatever its version; BundleError leaves the old actor in place."""
        loaded = self._make(data, bundle.sha256(data))
        with self._changed:
            self._loading = self._next = self._ready = None
            self._overruled += 1
            self.current = loaded
        return loaded

    def load_named(self, policy: str) -> str:
        """Run the policy of a name or a path now; returns a sentence that says so.

        Args:
            policy: see `resolve_policy`.

        Raises:
            BundleError: it can't be used, and the old actor stays in place.
        """
        path = resolve_policy(policy)
        data = bundle.read_bytes(path, self._max_bytes)
        try:
            loaded = self.load(data)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        return f"running policy version {loaded.version} from {path}"

    def offer(self, data: bytes, version: int, sha256: str) -> None:
        """Load a newer bundle in the background; of several that wait, the newest is loaded.

        Args:
            data: bytes of the bundle.
            version: must be above the running one's, and be the one in the bundle's manifest.
            sha256: hexadecimal hash that `data` must have.
        """
        offer = _Offer(data, version, sha256)
        with self._changed:
            if any(known is not None and (known.version, known.sha256) == (version, sha256)
                   for known in (self.current, self._ready, self._loading, self._next)):
                return  # delivered twice
            try:
                self._check(offer)
            except BundleError as error:
                self._refuse(offer, error)
                return
            self._next = offer
            if not self._thread_runs:
                self._thread_runs = True
                threading.Thread(target=self._work, name="policy loader", daemon=True).start()

    def swap(self) -> bool:
        """Make the newest loaded actor the running one, if there is one; called between two ticks."""
        if self._ready is None:  # the usual case, without the lock
            return False
        with self._changed:
            self.current, self._ready = self._ready, None
        return True

    def refusals(self) -> list[str]:
        """Sentences about updates refused since the last call."""
        if not self._refusals:
            return []
        with self._changed:
            taken, self._refusals = self._refusals, []
        return taken

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is being loaded; False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._thread_runs, timeout_s)

    def _check(self, offer: _Offer) -> None:
        """What can be seen without unpacking; called with the lock."""
        if len(offer.data) > self._max_bytes:
            raise BundleError(f"it has {len(offer.data)} bytes, at most {self._max_bytes} are allowed")
        newest = max((known.version for known in (self.current, self._ready, self._loading, self._next)
                      if known is not None), default=-1)
        if offer.version <= newest:
            raise BundleError(f"version {newest} is here already, an update must have a higher one: to go back, or to "
                              "follow another learner, use load_policy or start this node anew")

    def _make(self, data: bytes, sha256: str) -> Loaded:
        found = bundle.sha256(data)
        if found != sha256.lower():
            raise BundleError(f"expected bytes with the sha256 {sha256 or '(none)'}, found {found}")
        checked = bundle.unpack(data, self._max_bytes)
        checked.check_robot(self._spec.name, self._spec.observation_size, self._spec.action_size)
        actor = self._load(checked)
        if self.num_envs:
            actor.warm_up(self.num_envs)
        return Loaded(actor, sha256)

    def _work(self) -> None:
        """The loading thread: lives while there is something to load."""
        while True:
            with self._changed:
                offer, self._next = self._next, None
                self._loading, overruled = offer, self._overruled
                if offer is None:
                    self._thread_runs = False
                    self._changed.notify_all()
                    return
            loaded, error = None, None
            try:
                loaded = self._make(offer.data, offer.sha256)
                if loaded.version != offer.version:
                    raise BundleError(f"the update says version {offer.version}, its bundle says {loaded.version}")
            except Exception as caught:  # whatever a loader does, the running actor goes on
                error = caught
            with self._changed:
                if error is not None:
                    self._refuse(offer, error)
                elif overruled == self._overruled:
                    self._ready = loaded

    def _refuse(self, offer: _Offer, error: Exception) -> None:
        kept = "no policy runs yet" if self.current is None else f"version {self.current.version} goes on"
        self._refusals.append(f"refused policy version {offer.version}: {error}; {kept}")
