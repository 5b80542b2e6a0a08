"""The policy bundle: one zip file with a manifest and the actor in each of its forms.

A bundle is refused, with a sentence that says what was expected and what was found, when a member is missing,
altered or of the wrong size, or when the manifest is of another format version. Nothing in a bundle is executed:
the manifest is JSON, the actors are loaded by LiteRT or by Keras in safe mode.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Mapping

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_BUNDLE_BYTES = 64 * 2**20


class BundleError(ValueError):
    """A bundle that can't be used; the text says what was expected and what was found."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        algorithm: name of the method that trained it.
        robot: name of the task, e.g. Ant-v5.
        observation_size, action_size: sizes the actor was built for.
        version: policy version; grows with each update of one learner.
        state_shapes: shape of each recurrent state array without the batch axis; empty for feed-forward actors.
        stochastic: whether the actor's graph also gives mean and log_std, from which a policy can explore.
        observation_statistics: mean and variance that are baked into the graph, for the record.
        members: for each actor file: sha256, bytes, precision and backend.
        provenance: config, seed, steps, code version, evaluation with its episodes.
        signature: room for a detached signature.
    """

    algorithm: str
    robot: str
    observation_size: int
    action_size: int
    version: int
    stochastic: bool = False
    state_shapes: tuple[tuple[int, ...], ...] = ()
    observation_statistics: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    signature: str | None = None
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Bundle:
    """A checked bundle in memory: its manifest and the bytes of its members by name."""

    manifest: Manifest
    members: Mapping[str, bytes]

    def member(self, name: str) -> bytes:
        """Bytes of one actor file; BundleError if the bundle has none of that name."""
        if name not in self.members:
            raise BundleError(f"the bundle has no {name}; it holds {', '.join(sorted(self.members))}")
        return self.members[name]

    def check_sizes(self, observation_size: int, action_size: int) -> None:
        """BundleError unless the actor fits a robot of these sizes."""
        found = (self.manifest.observation_size, self.manifest.action_size)
        if found != (observation_size, action_size):
            raise BundleError(f"the robot has {observation_size} observations and {action_size} actions, "
                              f"but the bundle was made for {found[0]} and {found[1]}")


def pack(manifest: Manifest, members: Mapping[str, bytes], details: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Bytes of a bundle; equal input gives equal bytes.

    Args:
        manifest: its `members` field is replaced by hashes and sizes of `members`, joined with `details`.
        members: actor files by name.
        details: further facts per member, e.g. {"actor.tflite": {"precision": "float32"}}.
    """
    table = {name: {**details.get(name, {}), "sha256": sha256(data), "bytes": len(data)}
             for name, data in sorted(members.items())}
    fields = {**asdict(manifest), "members": table}
    text = json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [(MANIFEST, text), *sorted(members.items())]:
            # A fixed date keeps the bytes, and so the sha256, the same for the same policy.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def unpack(data: bytes, max_bytes: int = MAX_BUNDLE_BYTES) -> Bundle:
    """Check the bytes of a bundle and return it; BundleError says what is wrong."""
    if len(data) > max_bytes:
        raise BundleError(f"the bundle has {len(data)} bytes, at most {max_bytes} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > 4 * max_bytes:
                raise BundleError(f"the bundle unpacks to {unpacked} bytes, at most {4 * max_bytes} are allowed")
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, zipfile.zlib.error) as error:
        raise BundleError(f"not a whole bundle: expected a zip file, found {len(data)} bytes ({error})") from error
    if MANIFEST not in files:
        raise BundleError(f"the bundle has no {MANIFEST}; it holds {', '.join(sorted(files)) or 'nothing'}")
    manifest = _read_manifest(files.pop(MANIFEST))
    _check_members(manifest, files)
    return Bundle(manifest, files)


def read(path: str | os.PathLike[str], max_bytes: int = MAX_BUNDLE_BYTES) -> Bundle:
    """Read and check a bundle file; BundleError names the path and what is wrong."""
    try:
        size = os.path.getsize(path)
        if size > max_bytes:
            raise BundleError(f"the bundle has {size} bytes, at most {max_bytes} are allowed")
        return unpack(Path(path).read_bytes(), max_bytes)
    except OSError as error:
        raise BundleError(f"{path}: expected a policy bundle, found none ({error.strerror})") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bundle bytes so that `path` is never seen half-written."""
    write_atomically(Path(path), data)


def write_atomically(path: Path, data: bytes) -> None:
    """Write aside, flush to the disk, rename: a crash leaves the old file or the new one, whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def _read_manifest(text: bytes) -> Manifest:
    try:
        fields = json.loads(text)
        found = fields["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{MANIFEST} is not a manifest: {error!r}") from error
    if found != FORMAT_VERSION:
        raise BundleError(f"the bundle has format version {found}, this software reads {FORMAT_VERSION}")
    known = Manifest.__dataclass_fields__
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise BundleError(f"{MANIFEST} has unknown fields: {', '.join(unknown)}")
    for name, kind in (("algorithm", str), ("robot", str), ("observation_size", int), ("action_size", int),
                       ("version", int), ("stochastic", bool), ("state_shapes", list), ("members", dict)):
        if not isinstance(fields.get(name), kind):
            raise BundleError(f"{MANIFEST}: {name} must be {kind.__name__}, found {fields.get(name)!r}")
    fields["state_shapes"] = tuple(tuple(shape) for shape in fields["state_shapes"])
    return Manifest(**fields)


def _check_members(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    if set(files) != set(manifest.members):
        raise BundleError(f"the manifest lists {', '.join(sorted(manifest.members)) or 'no actor'}, "
                          f"but the bundle holds {', '.join(sorted(files)) or 'none'}")
    for name, data in files.items():
        entry = manifest.members[name]
        if entry.get("bytes") != len(data):
            raise BundleError(f"{name} should have {entry.get('bytes')} bytes, found {len(data)}")
        if entry.get("sha256") != sha256(data):
            raise BundleError(f"{name} was altered: sha256 should be {entry.get('sha256')}, found {sha256(data)}")
