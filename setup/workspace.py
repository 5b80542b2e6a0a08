"""The build of ros2_ws: what it depends on; colcon with links, so that an edited module needs no build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prerequisites import python_version
from report import discard, run_logged

BUILD_FILES = {"package.xml", "setup.py", "setup.cfg", "CMakeLists.txt"}
INTERFACE_SUFFIXES = {".msg", ".srv", ".action"}


def digest(*parts: bytes) -> str:
    """Digest of the parts and of where each ends."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()


def package_digest(package: Path) -> str:
    """Digest of what a package's build depends on: build files and interfaces, and the names of data files.

    The content of Python modules and data files doesn't count, as the build holds links to them.
    """
    parts = []
    for file in sorted(package.rglob("*")):
        name = file.relative_to(package)
        if name.parts[0] in (package.name, "test") or "__pycache__" in name.parts or not file.is_file():
            continue
        parts.append(str(name).encode())
        if file.name in BUILD_FILES or file.suffix in INTERFACE_SUFFIXES:
            parts.append(file.read_bytes())
    return digest(*parts)


class Workspace:
    """A build of the packages in one folder.

    Args:
        source: folder of the packages.
        folder: where build, install and log go.
        prefix: the environment to build with.
    """

    def __init__(self, source: Path, folder: Path, prefix: Path) -> None:
        self.source = source
        self.folder = folder
        self.prefix = prefix
        self.install = folder / "install"
        self.site_packages = self.install / "lib" / f"python{python_version()}" / "site-packages"

    def digests(self) -> dict[str, str]:
        """For each package the digest of what its build depends on."""
        packages = sorted(file.parent for file in self.source.glob("*/package.xml"))
        return {package.name: package_digest(package) for package in packages}

    def remove(self) -> None:
        """Delete all that is built and installed."""
        discard(self.folder)

    def unbuild(self, packages: Iterable[str]) -> None:
        """Delete what was built of these packages, to build them from nothing; what is installed stays."""
        for name in packages:
            discard(self.folder / "build" / name)

    def build(self, packages: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Build some packages.

        Raises:
            SetupError: a build failed.
        """
        # Links to files that are gone would fail the build; for Python packages building anew costs nothing.
        self.unbuild(name for name in packages if (self.source / name / "setup.py").exists())
        what = packages[0] if len(packages) == 1 else f"{len(packages)} packages of ros2_ws"
        run_logged(f"building {what}", [
            f"{self.prefix}/bin/colcon", "--log-base", f"{self.folder}/log",
            "build", "--base-paths", f"{self.source}", "--build-base", f"{self.folder}/build",
            "--install-base", f"{self.install}", "--merge-install", "--symlink-install",
            "--packages-select", *packages,
            "--cmake-args", "-GNinja", "-DBUILD_TESTING=OFF",
            f"-DPython3_EXECUTABLE={self.prefix}/bin/python",
        ], log, environment)
        self._link_modules()
        for link in (self.install / "share").rglob("*"):
            if link.is_symlink() and not link.exists():  # a data file that is gone
                link.unlink()

    def _link_modules(self) -> None:
        """Put links to the Python packages into the install folder.

        colcon would put each package's build folder on PYTHONPATH; those hold folders named launch, config
        and so on, which Python then takes for modules.
        """
        for metadata in (self.folder / "build").glob("*/*.egg-info"):
            for target in (metadata, self.source / metadata.stem / metadata.stem):
                link = self.site_packages / target.name
                if not link.is_symlink():
                    link.symlink_to(target)
