"""Where the policies are that ship with the stack."""

from __future__ import annotations

import os
from pathlib import Path

from ant_rl_core.bundle import BundleError


def resolve_policy(policy: str) -> Path:
    """Path of a policy given as a path, or as the name of one that ships with the `ant_rl` package.

    What holds a slash or ends in .zip is a path; any other word is a name, looked up as
    share/ant_rl/policies/NAME.zip in the folders of the environment variable AMENT_PREFIX_PATH.
    BundleError lists the shipped names if there is none of that name.
    """
    if "/" in policy or policy.endswith(".zip"):
        return Path(policy).expanduser()
    shipped = shipped_policies()
    if policy not in shipped:
        known = ", ".join(sorted(shipped)) or "none was found: is the workspace built and sourced?"
        raise BundleError(f"expected the path of a policy bundle or the name of a shipped one, found {policy!r}; "
                          f"shipped: {known}")
    return shipped[policy]


def shipped_policies() -> dict[str, Path]:
    """Paths of the bundles that ship with the `ant_rl` package, by name; those of the first prefix win."""
    found: dict[str, Path] = {}
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            for path in sorted(Path(prefix, "share", "ant_rl", "policies").glob("*.zip")):
                found.setdefault(path.stem, path)
    return found
