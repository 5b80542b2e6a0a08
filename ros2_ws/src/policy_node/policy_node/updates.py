"""New policies of a policy node, from the topic and by the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ant_rl_interfaces.msg import PolicyUpdate
from ant_rl_interfaces.srv import LoadPolicy

from ant_rl_ros import qos
from policy_node.slot import ActorSlot

if TYPE_CHECKING:
    from ant_rl_ros.node import StackNode


class PolicyUpdates:
    """Takes `policy`, and serves ~/load_policy.

    Args:
        node: whose they are; counts swaps and refused_policies.
        slot: takes the policies.
    """

    def __init__(self, node: StackNode, slot: ActorSlot) -> None:
        self._node, self._slot = node, slot
        self._updates = node.create_subscription(PolicyUpdate, "policy", self._take, qos.profile("policy"),
                                                 qos_overriding_options=qos.overriding())
        self._service = node.create_service(LoadPolicy, "~/load_policy", self._load_now)

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_subscription(self._updates)
        self._node.destroy_service(self._service)

    def _take(self, message: PolicyUpdate) -> None:
        self._slot.offer(message.bundle.tobytes(), message.version, message.sha256)

    def _load_now(self, request: LoadPolicy.Request, response: LoadPolicy.Response) -> LoadPolicy.Response:
        node, slot = self._node, self._slot
        try:
            response.success, response.message = True, slot.load_named(request.path)
            node.counters["swaps"] += 1
        except ValueError as error:
            node.counters["refused_policies"] += 1
            response.success, response.message = False, f"refused: {error}"
        node.get_logger().info(response.message)
        response.version = 0 if slot.current is None else slot.current.version
        return response
