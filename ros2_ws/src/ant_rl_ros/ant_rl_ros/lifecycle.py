"""The lifecycle of a node of the stack: its hooks, its states and the loop that waits, without what the node tells."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ant_rl_core.settings import Settings, setting
from ant_rl_ros import parameters, wait_loop
from ant_rl_ros.wait_loop import WaitLoop

EXIT_CONFIGURATION = 2
EXIT_CONTESTED = 3  # it did its work, but another one took part in it


@dataclass(frozen=True)
class LoopSettings(Settings):
    """Parameters of every node."""

    wait: str = setting("wait_set", "how the loop waits: wait_set (fast) or executor (plain rclpy)",
                        choices=wait_loop.MODES)
    autostart: bool = setting(True, "configure and activate at start; else `ros2 lifecycle set` does")


class ManagedNode(LifecycleNode):
    """A managed node whose transitions are plain hooks, and which starts by itself if its parameters say so.

    Override `configure`, `activate`, `deactivate`, `cleanup`; ValueError or OSError with one sentence refuses.

    Args:
        name: default name of the node.

    Attributes:
        loop: where data subscriptions are made and waited for.
        state, detail: one word (running, waiting, paused, inactive) and one sentence.
        configured, active: whether `configure` has succeeded and was not undone; whether the lifecycle state is active.
        exit_code: of the process, once the node is to end; None until then.

    Raises:
        ParameterError: a parameter was given a value that it can't have.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        settings = parameters.declare(self, LoopSettings)
        self._autostart = settings.autostart
        self.configured = self.active = False
        self.exit_code: int | None = None
        self.state, self.detail = "inactive", ""
        self.loop = WaitLoop(self, settings.wait, lambda: self.exit_code is not None)

    # Hooks

    def configure(self) -> None:
        """Load and check what the node needs, make its publishers and subscriptions."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working, keep what is loaded."""

    def cleanup(self) -> None:
        """Undo `configure`; called only after it succeeded."""

    def meet(self) -> None:
        """Between `configure` and `activate` at the start: find out what has to be known of others, in bounded time."""

    # For use by the node

    def finish(self, exit_code: int = 0) -> None:
        """End the loop; the process exits with this code. The first call counts."""
        if self.exit_code is None:
            self.exit_code = exit_code

    def start_if_asked(self) -> None:
        """Configure and activate; a refusal ends the process, for whoever started it asked for a running node."""
        if not self._autostart:
            return
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            self.finish(EXIT_CONFIGURATION)
            return
        self.meet()
        if self.exit_code is None and self.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            self.finish(EXIT_CONFIGURATION)

    # The transitions, as rclpy calls them

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Calls `configure`."""
        result = self._transition(self.configure, "configure")
        self.configured = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Calls `activate`."""
        result = self._transition(self.activate, "activate")
        if result == TransitionCallbackReturn.SUCCESS:
            self.active, self.state, self.detail = True, "running", ""
            self.loop.discard()  # what came before
            super().on_activate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Calls `deactivate`."""
        self.active, self.state, self.detail = False, "inactive", ""
        super().on_deactivate(state)
        return self._transition(self.deactivate, "deactivate")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Calls `cleanup`."""
        self.configured = False
        return self._transition(self.cleanup, "cleanup")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the process."""
        self.active, self.state, self.detail = False, "inactive", ""
        self.finish(0)
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Leave the graph, and let go of the state machine, which rclpy forgets.

        It would keep the middleware's participant, which then ends without a goodbye: others believe in it for 20 s.
        """
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def _transition(self, hook: Callable[[], None], name: str) -> TransitionCallbackReturn:
        try:
            hook()
        except (ValueError, OSError) as error:
            self.get_logger().error(f"{name}: {error}")
            return TransitionCallbackReturn.FAILURE
        except NameValidationException as error:  # such as a namespace to listen to
            self.get_logger().error(f"{name}: {' '.join(str(error).split())}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy would swallow it.
            self.get_logger().error(f"{name} failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        finally:
            self.loop.refresh()
        return TransitionCallbackReturn.SUCCESS
