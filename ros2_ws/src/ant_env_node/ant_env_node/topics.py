"""All that an env node publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ant_rl_interfaces.msg import EpisodeSummary, Observation, RobotTasks, Session
from builtin_interfaces.msg import Time

from ant_env_node.codec import encode_session
from ant_env_node.settings import EnvSettings
from ant_env_node.state_topics import StateTopics
from ant_env_node.stepper import Stepper
from ant_rl_core.spec import ANT
from ant_rl_core.telemetry import Episode
from ant_rl_ros.audience import Audience
from ant_rl_ros.messages import encode_observation, encode_tasks
from ant_rl_ros.telemetry import encode_episode
from ant_rl_ros.wire import FlatCodec

if TYPE_CHECKING:
    from ant_rl_ros.node import StackNode


class EnvTopics:
    """Publishes observations, tasks, episodes, sessions, and the standard topics of the first robot.

    Args:
        node: it sends, and stamps.
        stepper: of the robots.
        settings: which mode, and whether and how often the standard topics.
    """

    def __init__(self, node: StackNode, stepper: Stepper, settings: EnvSettings) -> None:
        self._node, self._stepper, self._settings = node, stepper, settings
        self._observations = node.publisher(Observation, "observation", settings.mode, last_words=True)
        self._episodes = node.publisher(EpisodeSummary, "episode", last_words=True)
        self._sessions = node.publisher(Session, "session", last_words=True)
        self._tasks = node.publisher(RobotTasks, "task", last_words=True)
        self._states = StateTopics(node, stepper.ant.model, settings.state_rate) if settings.publish_state else None
        self._template, self._wire = Observation(), FlatCodec(Observation)  # the template is filled anew at each tick
        self._sent = b""

    def audience(self, wanted: int) -> Audience:
        """So many subscribers of episodes, to be waited for."""
        return Audience(self._node, self._episodes, wanted)

    def tick(self, ticks: int, stamp: Time) -> None:
        """Publish the newest tick, the `ticks`-th since the start: observation, tasks and state as far as they are due.

        Tasks go before the observation from which on they are so.
        """
        self.tasks(stamp)
        self._sent = self._wire.write(encode_observation(self._stepper.tick, stamp, self._template))
        self.resend()
        if self._states is not None:
            ant = self._stepper.ant
            self._states.publish(ant.data(0), ant.row_model(0), ticks * ANT.control_period, stamp)

    def tasks(self, stamp: Time) -> None:
        """Publish which task each robot has, where that is new."""
        record = self._stepper.tasks
        if record.fresh and record.newest is not None:
            record.fresh = False
            self._node.send(self._tasks, encode_tasks(record.newest, stamp))

    def resend(self) -> None:
        """Publish the newest observation again, byte for byte."""
        self._node.send(self._observations, self._sent)

    def episode(self, episode: Episode, stamp: Time) -> None:
        """Publish the summary of an episode that ended."""
        self._node.send(self._episodes, encode_episode(episode, stamp))

    def session(self, number: int, reseeded: bool) -> None:
        """Publish how a session began; `reseeded`: the robots' random streams began anew."""
        settings = self._settings
        self._node.send(self._sessions, encode_session(
            number, settings.mode, self._stepper.ant.np_random_seed, reseeded, settings.shaping_config(),
            settings.task_distribution(), settings.task_part, self._node.stamp()))

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._observations, self._episodes, self._sessions, self._tasks):
            self._node.discard_publisher(publisher)
        if self._states is not None:
            self._states.close()
