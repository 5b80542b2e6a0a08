"""The policy bundle: one zip file with a manifest and the actor in each of its forms.

A bundle is refused, with a sentence that says what was expected and what was found, when a member is missing,
altered or of the wrong size, or when the manifest is of another format version. Nothing in a bundle is executed:
the manifest is JSON, the actors are loaded by LiteRT or by Keras in safe mode. Longer than others because what is
written and what is refused at reading are one format.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ant_rl_core.exploration import Exploration

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_BUNDLE_BYTES = 64 * 2**20
MAX_MEMBERS = 64
FLOAT32 = "float32"  # the variant that every bundle has: the actor as it was learned
# What a graph may take beside its states: the observation, and what happened before it, zeros where memory starts anew.
INPUTS = ("observation", "previous_action", "previous_reward", "previous_done")
MEMORIES = ("episode", "trial")


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
        exploration: how a policy explores with this actor, where that is not by drawing from mean and log_std.
        inputs: what the actor's graph takes beside its states, of `INPUTS`; the observation is one of them.
        memory: how long states and what happened before last: they start anew with each episode, or with each trial.
        memory_id: actors of the same state shapes and the same id understand each other's states, so that one that
            takes another's place goes on with its memory; null: nobody else's.
        task_input: how many numbers at the end of the observation tell the actor its task; 0: none does.
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
    exploration: Exploration | None = None
    inputs: tuple[str, ...] = INPUTS[:1]
    memory: str = MEMORIES[0]
    memory_id: str | None = None
    task_input: int = 0
    format_version: int = FORMAT_VERSION

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input of the actor's graph by name, without the batch axis, states included."""
        sizes = dict(zip(INPUTS, (self.observation_size, self.action_size, 1, 1), strict=True))
        return {**{name: (sizes[name],) for name in self.inputs},
                **{f"state_{i}": shape for i, shape in enumerate(self.state_shapes)}}

    @property
    def explores(self) -> Exploration | None:
        """How a policy explores with this actor; None where it can't."""
        if self.exploration is None and self.stochastic:
            return Exploration("squashed_gaussian")
        return self.exploration


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

    def variant(self, name: str, suffix: str) -> str:
        """The member with one variant of the actor, in the form of this suffix.

        The variant float32 is the member actor.tflite or actor.keras, any other NAME is actor_NAME.tflite, ….
        BundleError lists the variants that there are.
        """
        found = self.variants(suffix)
        if name not in found:
            raise BundleError(f"the bundle has no variant {name!r} that ends in {suffix}; those are "
                              f"{', '.join(found) or 'none'}")
        return found[name]

    def variants(self, suffix: str) -> dict[str, str]:
        """Member names of all variants of the actor in the form of this suffix, by variant, float32 first."""
        plain = member_name(FLOAT32, suffix)
        found = {FLOAT32: plain} if plain in self.members else {}
        for member in sorted(self.members):
            if member.startswith("actor_") and member.endswith(suffix):
                found[member.removeprefix("actor_").removesuffix(suffix)] = member
        return found

    def check_robot(self, robot: str, observation_size: int, action_size: int) -> None:
        """BundleError unless the actor was made for the robot of this name, with these sizes, as far as it tells."""
        manifest = self.manifest
        if manifest.robot != robot:
            raise BundleError(f"expected a policy for {robot or 'a robot without a name'}, found one for "
                              f"{_short(manifest.robot)}: choose one that was made for it")
        if manifest.task_input and manifest.observation_size == observation_size + manifest.task_input:
            raise BundleError(f"expected a policy that goes by the robot's {observation_size} observations alone, "
                              f"found one that is told its task in {manifest.task_input} more: choose another, or "
                              "evaluate this one with ./run eval BUNDLE tasks:=NAME")
        found = (manifest.observation_size, manifest.action_size)
        if found != (observation_size, action_size):
            raise BundleError(f"the robot has {observation_size} observations and {action_size} actions, "
                              f"but the bundle was made for {found[0]} and {found[1]}")
        _check_statistics(manifest)


def member_name(variant: str, suffix: str) -> str:
    """Name of the member that holds a variant of the actor, in the form of this suffix; see `Bundle.variant`."""
    return f"actor{suffix}" if variant == FLOAT32 else f"actor_{variant}{suffix}"


def variant_of(member: str) -> str:
    """The variant of the actor that the member of this name holds; empty where it holds none."""
    stem = member.rpartition(".")[0]
    return FLOAT32 if stem == "actor" else stem.removeprefix("actor_") if stem.startswith("actor_") else ""


def pack(manifest: Manifest, members: Mapping[str, bytes], details: Mapping[str, Mapping[str, Any]],
         deflated: bool = False) -> bytes:
    """Bytes of a bundle; equal input gives equal bytes.

    Args:
        manifest: its `members` field is replaced by hashes and sizes of `members`, joined with `details`.
        members: actor files by name.
        details: further facts per member, e.g. {"actor.tflite": {"precision": "float32"}}.
        deflated: compress the members; weights shrink by a tenth at best, unless many are zero, and that takes longer
            than all the rest of an export.

    Raises:
        BundleError: for a member name that is no plain file name.
        ValueError: for NaN or infinity in the manifest, which JSON does not know.
    """
    _check_names([MANIFEST, *members])
    table = {name: {**details.get(name, {}), "sha256": sha256(data), "bytes": len(data)}
             for name, data in sorted(members.items())}
    fields = {**asdict(manifest), "members": table}
    for name in _LATER:  # for software that does not know of them
        if getattr(manifest, name) == getattr(Manifest, name):
            del fields[name]
    if manifest.exploration is not None and manifest.exploration.limit == 1.0:
        del fields["exploration"]["limit"]
    text = json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in [(MANIFEST, text), *sorted(members.items())]:
            # A fixed date keeps the bytes, and so the sha256, the same for the same policy.
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data,
                             zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED)
    return buffer.getvalue()


def told_task(data: bytes, size: int) -> bytes:
    """The bundle with a manifest that says: the last `size` numbers of the observation tell the actor its task."""
    bundle = unpack(data)
    return pack(replace(bundle.manifest, task_input=size), bundle.members, bundle.manifest.members)


def unpack(data: bytes, max_bytes: int = MAX_BUNDLE_BYTES) -> Bundle:
    """Check the bytes of a bundle and return it; BundleError says what is wrong."""
    if len(data) > max_bytes:
        raise BundleError(f"the bundle has {len(data)} bytes, at most {max_bytes} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # A member may be a zip file itself, whose end is taken for the bundle's where that one was cut off.
            if min((info.header_offset for info in archive.infolist()), default=0):
                raise BundleError(f"not a whole bundle: expected a zip file, found {len(data)} bytes cut off "
                                  "within a member")
            _check_names(archive.namelist())
            # zipfile reads no more of a member than its header promises, so this bounds the memory.
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > 4 * max_bytes:
                raise BundleError(f"the bundle unpacks to {unpacked} bytes, at most {4 * max_bytes} are allowed")
            files = {name: archive.read(name) for name in archive.namelist()}
    except BundleError:
        raise
    except Exception as error:  # zipfile answers damage with many types, from struct.error to lzma.LZMAError
        raise BundleError(f"not a whole bundle: expected a zip file, found {len(data)} bytes ({error})") from error
    if MANIFEST not in files:
        raise BundleError(f"the bundle has no {MANIFEST}; it holds {', '.join(sorted(files)) or 'nothing'}")
    manifest = _read_manifest(files.pop(MANIFEST))
    _check_members(manifest, files)
    return Bundle(manifest, files)


def read(path: str | os.PathLike[str], max_bytes: int = MAX_BUNDLE_BYTES) -> Bundle:
    """Read and check a bundle file; BundleError names the path and what is wrong."""
    data = read_bytes(path, max_bytes)
    try:
        return unpack(data, max_bytes)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def read_bytes(path: str | os.PathLike[str], max_bytes: int = MAX_BUNDLE_BYTES) -> bytes:
    """Unchecked bytes of a bundle file; BundleError unless it is a readable, regular file of at most `max_bytes`."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device never ends
            raise BundleError(f"{path}: expected a policy bundle, found no regular file")
        if status.st_size > max_bytes:
            raise BundleError(f"{path}: the bundle has {status.st_size} bytes, at most {max_bytes} are allowed")
        return Path(path).read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: expected a policy bundle, found none ({error.strerror})") from error


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def _check_names(names: list[str]) -> None:
    if len(names) > MAX_MEMBERS:
        raise BundleError(f"a bundle holds at most {MAX_MEMBERS} members, found {len(names)}")
    for name in names:
        if names.count(name) > 1:
            raise BundleError(f"a bundle holds each member once, found {name!r} {names.count(name)} times")
        if not name or name.startswith(".") or set(name) & set("/\\:") or not name.isprintable():
            raise BundleError(f"members of a bundle have plain file names, found {name!r}")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


# What each field of a manifest must be, in words and as a check; the first six have no default.
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "algorithm": ("text", lambda value: isinstance(value, str)),
    "robot": ("text", lambda value: isinstance(value, str)),
    "observation_size": ("a positive integer", _is_size),
    "action_size": ("a positive integer", _is_size),
    "version": ("an integer from 0 to 2**64 - 1", lambda value: type(value) is int and 0 <= value < 2**64),
    "members": ("a table of tables", lambda value: isinstance(value, dict)
                and all(isinstance(entry, dict) for entry in value.values())),
    "stochastic": ("true or false", lambda value: isinstance(value, bool)),
    "state_shapes": ("a list of lists of positive integers", lambda value: isinstance(value, list)
                     and all(isinstance(shape, list) and all(map(_is_size, shape)) for shape in value)),
    "observation_statistics": ("a table, its mean and variance a number for each observation",
                               lambda value: isinstance(value, dict)),
    "provenance": ("a table", lambda value: isinstance(value, dict)),
    "signature": ("text or null", lambda value: value is None or isinstance(value, str)),
    "exploration": ("a table with kind, scale, levels and limit", lambda value: value is None or isinstance(value, dict)
                    and set(value) <= {"kind", "scale", "levels", "limit"} and isinstance(value.get("kind"), str)),
    "inputs": (f"a list of some of {', '.join(INPUTS)}, each once, observation among them",
               lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value)
               and "observation" in value and set(value) <= set(INPUTS) and len(set(value)) == len(value)),
    "memory": (" or ".join(MEMORIES), lambda value: value in MEMORIES),
    "memory_id": ("text or null", lambda value: value is None or isinstance(value, str)),
    "task_input": ("an integer of at least 0", lambda value: value == 0 and type(value) is int or _is_size(value)),
}
# What runs the members that end so.
_BACKENDS = {".tflite": "litert", ".keras": "keras"}
# Written only where they differ from what a manifest without them means.
_LATER = ("exploration", "inputs", "memory", "memory_id", "task_input")


def _read_manifest(text: bytes) -> Manifest:
    try:
        fields = json.loads(text, object_pairs_hook=_each_once)
        found = fields["format_version"]
    except BundleError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is not a manifest: {error!r}") from error
    if type(found) is not int or found != FORMAT_VERSION:
        raise BundleError(f"the bundle has format version {_short(found)}, this software reads {FORMAT_VERSION}")
    unknown = sorted(set(fields) - set(_FIELDS) - {"format_version"})
    if unknown:
        raise BundleError(f"{MANIFEST} has unknown fields: {_short(', '.join(unknown))}")
    for name in list(_FIELDS)[:6]:
        if name not in fields:
            raise BundleError(f"{MANIFEST} has no {name}; it has {', '.join(sorted(fields))}")
    for name, value in fields.items():
        expected, holds = _FIELDS.get(name, ("", lambda value: True))
        if not holds(value):
            raise BundleError(f"{MANIFEST}: {name} must be {expected}, found {_short(value)}")
    fields["state_shapes"] = tuple(tuple(shape) for shape in fields.get("state_shapes", ()))
    if "inputs" in fields:
        fields["inputs"] = tuple(fields["inputs"])
    if fields.get("exploration") is not None:
        fields["exploration"] = _read_exploration(fields["exploration"], fields.get("stochastic", False))
    return Manifest(**fields)


def _check_statistics(manifest: Manifest) -> None:
    size = manifest.observation_size
    for name, least in (("mean", -math.inf), ("variance", 0.0)):
        found = manifest.observation_statistics.get(name, [0.0] * size)
        if not (isinstance(found, list) and len(found) == size
                and all(type(value) in (int, float) and value >= least for value in found)):
            raise BundleError(f"{MANIFEST}: observation_statistics must be {_FIELDS['observation_statistics'][0]}, "
                              f"found another {name}")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of JSON; of two fields of one name each reader could take another."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1)
        raise BundleError(f"{MANIFEST} has each field once, found {_short(twice)} more than once")
    return table


def _read_exploration(fields: Mapping[str, Any], stochastic: bool) -> Exploration:
    try:
        exploration = Exploration(**fields)
    except ValueError as error:
        raise BundleError(f"{MANIFEST}: {_short(str(error), 160)}") from error
    if exploration.kind == "squashed_gaussian" and not stochastic:
        raise BundleError(f"{MANIFEST}: squashed_gaussian exploration needs a stochastic actor, found "
                          "stochastic: false")
    return exploration


def _short(value: Any, length: int = 80) -> str:
    """What was found, for a sentence: never longer than a line."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= length else f"{text[:length - 3]}..."


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
        _check_labels(name, entry)


def _check_labels(name: str, entry: Mapping[str, Any]) -> None:
    """A member is what the manifest calls it: another variant, or one for another backend, was put in its place."""
    _, _, suffix = name.rpartition(".")
    for label, expected in (("precision", variant_of(name)), ("backend", _BACKENDS.get(f".{suffix}", ""))):
        if expected and label in entry and entry[label] != expected:
            raise BundleError(f"the {label} of {name} should be {expected}, found {_short(entry[label])} in "
                              f"{MANIFEST}")
