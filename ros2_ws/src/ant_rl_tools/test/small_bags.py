"""Recordings of a few ticks, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from ant_rl_interfaces.msg import Observation
from rclpy.serialization import serialize_message

from recorder_node.bag import BagWriter
from recorder_node.codec import type_name
from recorder_node.definitions import read_definition
from recorder_node.storage import Message, Topic


def observed(path: Path, step_ids: Sequence[int], size: int = 105, torques: int = 8) -> str:
    """A bag with these ticks of one robot."""
    writer = BagWriter(path, "mcap", "kilted")
    definition = read_definition(type_name(Observation), get_package_share_directory)
    topic = writer.add_topic(Topic("/observation", definition))
    for count, step_id in enumerate(step_ids):
        message = Observation(session=1, step_id=step_id, num_envs=1, observation=[0.5] * size, episode_id=[0],
                              episode_step=[step_id], trial_id=[0])
        if step_id:
            message.action, message.reward = [0.0] * torques, [1.0]
            message.terminated, message.truncated = [0], [0]
        writer.write([Message(topic, 10**18 + count, 10**18 + count, count, serialize_message(message))])
    writer.close()
    return str(path)
