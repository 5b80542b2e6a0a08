"""What the trainer node hears of environments, and says: new policies, progress, and that environments are to wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ant_rl_interfaces.msg import Observation, PolicyUpdate, RobotTasks, TrainingProgress
from std_srvs.srv import SetBool

from ant_rl_ros import qos
from ant_rl_ros.node import StackNode
from trainer.ros.codec import encode_policy, encode_progress

# The environment may run many ticks ahead while something else is served.
_DEPTH = 2000


class Heard:
    """What comes of environments, once it is made: observations, and the tasks of their robots.

    Args:
        node: that listens.
        prefixes: of the names of topics, e.g. /a/ or nothing, by each environment's namespace.
        mode: of the environments.
        keeps_all: observations wait until they are taken; otherwise the newest ones do.

    Attributes:
        observations, tasks: an inbox for each environment, by its namespace.
    """

    def __init__(self, node: StackNode, prefixes: Mapping[str, str], mode: str, keeps_all: bool) -> None:
        observed, told = qos.profile("observation", mode), qos.profile("task")
        observed.depth, told.depth = _DEPTH if keeps_all else observed.depth, _DEPTH
        self._loop = node.loop
        self.observations = {ns: self._loop.subscribe(Observation, f"{prefix}observation", observed, qos.overriding())
                             for ns, prefix in prefixes.items()}
        self.tasks = {ns: self._loop.subscribe(RobotTasks, f"{prefix}task", told, qos.overriding())
                      for ns, prefix in prefixes.items()}

    def close(self) -> None:
        """Listen no more."""
        for inbox in (*self.observations.values(), *self.tasks.values()):
            self._loop.unsubscribe(inbox)


class TrainingTopics:
    """The outbox of a session: publishers, clients of the environments' service `pause`, and the log.

    Args:
        node: the node that has them.
        prefixes: of the names of each namespace that is learned from, e.g. /a/ or nothing.
        holds: whether environments can be held; a robot in real time goes on with the policy it has.
    """

    def __init__(self, node: StackNode, prefixes: Iterable[str], holds: bool) -> None:
        self._node, self._can_hold = node, holds
        prefixes = list(prefixes)
        self._progress = node.publisher(TrainingProgress, "training")
        self._policies = [node.publisher(PolicyUpdate, prefix + "policy", last_words=True) for prefix in prefixes]
        self._pauses: list[Any] = [node.create_client(SetBool, f"{prefix}env/pause") for prefix in prefixes]
        # An earlier run of the node may have been killed while it held them.
        self._held: set[Any] = set(self._pauses)

    @property
    def held(self) -> bool:
        """Whether environments were held and are not let go yet."""
        return bool(self._held)

    def close(self) -> None:
        """Leave the graph."""
        for publisher in (self._progress, *self._policies):
            self._node.discard_publisher(publisher)
        for client in self._pauses:
            self._node.destroy_client(client)

    def send_policy(self, bundle: bytes, version: int) -> None:
        """Hand a new policy to the policy nodes."""
        message = encode_policy(bundle, version, self._node.stamp())
        for publisher in self._policies:
            publisher.publish(message)

    def send_progress(self, algorithm: str, figures: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Say how learning goes; see `encode_progress`."""
        self._progress.publish(encode_progress(algorithm, figures, metrics, self._node.stamp()))

    def say(self, sentence: str) -> None:
        """Log a sentence."""
        self._node.get_logger().info(sentence)

    def warn(self, key: str, sentence: str) -> None:
        """Log a warning, not too often with the same key."""
        self._node.say(key, sentence)

    def hold(self) -> None:
        """Pause the environments that can be reached."""
        if self._can_hold:
            for client in self._pauses:
                if client.service_is_ready():
                    client.call_async(SetBool.Request(data=True))
                    self._held.add(client)

    def release(self) -> None:
        """Let the environments go on; one that can't be reached yet, the next time."""
        for client in list(self._held):
            if client.service_is_ready():
                client.call_async(SetBool.Request(data=False))
                self._held.remove(client)
