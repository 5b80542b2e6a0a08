"""Makes the environment that the stack runs in, builds the workspace, and prints the variables to run with.

`./run` calls this folder as a program before anything is installed, so it needs nothing but the standard
library. One folder holds one environment: `.venv` for ROS 2 Kilted as wheels, `.venv-jazzy` for Jazzy as
wheels, `.venv-system` for a ROS 2 that is already sourced. In it lie the Python packages, the build of `ros2_ws`
(`ws/`), the logs of both, and `state.json`, which says what is done; deleting the folder undoes all of it.

Asked for `comparison` it makes `.venv-sb3`, for `./run bench learn`, and prints the path of its Python.

Messages for people go to stderr; stdout carries `unset NAME` and `export NAME=VALUE` lines for the shell that calls.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

import comparison
import prerequisites
from environment import WHEELS, Environment
from report import SetupError, say
from surroundings import NOT_TAKEN_OVER, forget


def main() -> int:
    """Prepare the environment and print its variables; 1 if something is missing, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="setup", description="Prepares an environment; see ./run.")
    parser.add_argument("root", type=Path, help="the checkout")
    parser.add_argument("ros", choices=(*WHEELS, "system", "comparison"),
                        help="where ROS 2 comes from; comparison makes the environment of ./run bench learn instead")
    parser.add_argument("--rebuild", action="store_true", help="build every package from nothing")
    parser.add_argument("--tests", action="store_true", help="tests follow: see to what only they need, too")
    arguments = parser.parse_args()
    forget()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if arguments.ros == "comparison":
            print(comparison.prepare(arguments.root))
            return 0
        environment = Environment(arguments.root, arguments.ros)
        environment.prepare(arguments.rebuild)
        if arguments.tests:
            prerequisites.provide_for_tests(Path(f"{environment.folder}.apt.log"))
            environment.provide_viewer()
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.strerror}: {error.filename}; the checkout has to be writable, with 3 GB free")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next ./run starts from a clean state")
        return 130
    print(f"unset {' '.join(NOT_TAKEN_OVER)}")
    for name, value in environment.variables().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
