"""All that an env node publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ant_rl_interfaces.msg import EpisodeSummary, Observation, Session
from builtin_interfaces.msg import Time

from ant_env_node.codec import encode_session
from ant_env_node.settings import EnvSettings
from ant_env_node.state_topics import StateTopics
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.telemetry import Episode
from ant_rl_core.tick import Tick
from ant_rl_ros.audience import Audience
from ant_rl_ros.messages import encode_observation
from ant_rl_ros.telemetry import encode_episode
from ant_rl_ros.wire import FlatCodec

if TYPE_CHECKING:
    from ant_rl_ros.node import StackNode


class EnvTopics:
    """Publishes observations, episodes, sessions, and the standard topics of the first robot.

    Args:
        node: it sends, and stamps.
        ant: the robots.
        settings: which mode, and whether and how often the standard topics.
    """

    def __init__(self, node: StackNode, ant: VectorAnt, settings: EnvSettings) -> None:
        self._node, self._ant, self._settings = node, ant, settings
        self._observations = node.publisher(Observation, "observation", settings.mode, last_words=True)
        self._episodes = node.publisher(EpisodeSummary, "episode", last_words=True)
        self._sessions = node.publisher(Session, "session", last_words=True)
        self._states = StateTopics(node, ant.model, settings.state_rate) if settings.publish_state else None
        self._template, self._wire = Observation(), FlatCodec(Observation)  # the template is filled anew at each tick
        self._sent = b""

    def audience(self, wanted: int) -> Audience:
        """So many subscribers of episodes, to be waited for."""
        return Audience(self._node, self._episodes, wanted)

    def observation(self, tick: Tick, stamp: Time) -> None:
        """Publish the observation of a tick."""
        self._sent = self._wire.write(encode_observation(tick, stamp, self._template))
        self.resend()

    def resend(self) -> None:
        """Publish the newest observation again, byte for byte."""
        self._node.send(self._observations, self._sent)

    def state(self, seconds: float, stamp: Time) -> None:
        """Publish the standard topics, where they are due; `seconds` is the simulated time since the start [s]."""
        if self._states is not None:
            self._states.publish(self._ant.data(0), seconds, stamp)

    def episode(self, episode: Episode, stamp: Time) -> None:
        """Publish the summary of an episode that ended."""
        self._node.send(self._episodes, encode_episode(episode, stamp))

    def session(self, number: int, reseeded: bool) -> None:
        """Publish how a session began; `reseeded`: the robots' random streams began anew."""
        self._node.send(self._sessions, encode_session(number, self._settings.mode, self._ant.np_random_seed, reseeded,
                                                       self._settings.shaping_config(), self._node.stamp()))

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._observations, self._episodes, self._sessions):
            self._node.discard_publisher(publisher)
        if self._states is not None:
            self._states.close()
