"""What the nodes tell of themselves and of episodes, from messages to the types of `status.py`."""

from __future__ import annotations

from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming

from ant_rl.status import Episode, Stats, Timing

_REWARD_PARTS = ("forward", "survive", "ctrl", "contact")


def decode_timing(message: NodeTiming) -> Timing:
    """What a node says about itself."""
    figures = zip(message.stage_p50, message.stage_p99, message.stage_max)
    return Timing(
        message.node, message.host, message.pid, message.state, message.detail, message.loop_rate,
        dict(zip(message.stage_names, figures)), dict(zip(message.counter_names, message.counter_values)),
        dict(zip(message.value_names, message.value_values)),
        message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec)


def decode_stats(message: NodeStats) -> Stats:
    """What the monitor measured of a node."""
    return Stats(message.node, message.host, message.pid, message.alive, message.cpu_percent, message.rss_mib,
                 message.uss_mib, message.threads, message.temperature)


def decode_episode(message: EpisodeSummary) -> Episode:
    """A finished episode."""
    return Episode(
        message.seed, message.row, message.episode_id, message.session, message.episode_return, message.length,
        message.distance, message.duration, message.terminated, message.policy_version,
        {part: getattr(message, f"reward_{part}") for part in _REWARD_PARTS})
