"""Full names of nodes, each of which one process of a machine holds."""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
from collections.abc import Iterable, Mapping
from types import TracebackType

NODE, RUN = "node", "run"  # who holds a name: the node itself, or what starts it and starts it again
_CREDENTIALS = struct.Struct("3i")  # pid, uid and gid of a socket's owner, see unix(7)


class NameTakenError(ValueError):
    """Another process goes by a node's name; the text is one sentence that says what to do."""


class NameClaim:
    """Holds the full name of a node in a ROS domain until `close`, or until the process ends, however it ends.

    It is the kernel's: a socket in the abstract namespace, which leaves no file behind and can't be left over. Such a
    socket is seen as far as the loopback is, so processes that can't hear each other by that can have the same name.

    Args:
        kind: `NODE` or `RUN`; the same name may be held once as each of them.
        domain: ROS domain, as text.
        name: full name of the node, e.g. /robot1/env.

    Raises:
        NameTakenError: another process, or another object of this one, holds it.
        OSError: the system has no such sockets.
    """

    def __init__(self, kind: str, domain: str, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        address = _address(kind, domain, name)
        try:
            self._socket.bind(address)
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise NameTakenError(taken(domain, name, _holder(address))) from None

    def close(self) -> None:
        """Let the name go."""
        self._socket.close()


class RunClaim:
    """Holds the names of all nodes of a run, for what starts them, and starts them again; a context manager.

    Of two that want the same names in the same order at the same time, one gets them.

    Args:
        domain: ROS domain, as text.
        names: full names of the nodes.

    Raises:
        NameTakenError: another run, or a node that was started alone, has one of the names.
        OSError: the system has no such sockets.
    """

    def __init__(self, domain: str, names: Iterable[str]) -> None:
        self._claims: list[NameClaim] = []
        try:
            for name in names:
                self._claims.append(NameClaim(RUN, domain, name))
                if is_held(NODE, domain, name):
                    raise NameTakenError(taken(domain, name, _holder(_address(NODE, domain, name))))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the names go."""
        while self._claims:
            self._claims.pop().close()

    def __enter__(self) -> RunClaim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def domain_of(environment: Mapping[str, str]) -> str:
    """The ROS domain that these variables name, as text; one that is no number as it was written."""
    text = environment.get("ROS_DOMAIN_ID", "").strip() or "0"
    return str(int(text)) if text.isdecimal() else text


def full_name(namespace: str, name: str) -> str:
    """Full name of a node."""
    return "/" + "/".join(filter(None, (namespace.strip("/"), name)))


def is_held(kind: str, domain: str, name: str) -> bool:
    """Whether a process of this machine has claimed a name; arguments as of `NameClaim`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        return _reaches(asking, _address(kind, domain, name))


def taken(domain: str, name: str, process: int | None = None, host: str = "") -> str:
    """What there is to say, and to do, where another process has the name of a node."""
    where = ", ".join(filter(None, (f"process {process}" if process else "", f"on {host}" if host else "")))
    return (f"a node {name} runs in ROS domain {domain} already{f' ({where})' if where else ''}: stop it first, or "
            "give this run a domain or a namespace of its own, such as "
            f"ROS_DOMAIN_ID={_other(domain)} or namespace:=robot2")


def _other(domain: str) -> int:
    return int(domain) % 100 + 1 if domain.isdecimal() else 1


def _address(kind: str, domain: str, name: str) -> bytes:
    """Of the socket; hashed, as it must be short."""
    return b"\0ant_rl-" + hashlib.sha256(f"{kind} {domain} {name}".encode()).hexdigest().encode()


def _holder(address: bytes) -> int | None:
    """The process that holds it, as far as this one may know."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        if not _reaches(asking, address):
            return None
        try:
            owner = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:  # so many have asked that this one is not through yet
            return None
    return int(_CREDENTIALS.unpack(owner)[0]) or None


def _reaches(asking: socket.socket, address: bytes) -> bool:
    """Connect to a claim; whether there is one."""
    asking.setblocking(False)
    return asking.connect_ex(address) in (0, errno.EAGAIN)
