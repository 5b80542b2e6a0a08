"""Bundles: what was packed comes back; anything else is refused with one sentence."""

import io
import json
import os
import struct
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace

import pytest

from ant_rl_core import bundle, files
from ant_rl_core.bundle import BundleError, Manifest
from ant_rl_core.exploration import Exploration
from ant_rl_core.files import write_atomically
from ant_rl_core.shipped import resolve_policy, shipped_policies

MEMBERS = {"actor.tflite": bytes(range(256)) * 4, "actor.keras": b"keras" * 50}
MANIFEST = Manifest(algorithm="ppo", robot="Ant-v5", observation_size=105, action_size=8, version=7, stochastic=True,
                    state_shapes=((4, 2), (3,)), provenance={"seed": 1})
DATA = bundle.pack(MANIFEST, MEMBERS, {"actor.tflite": {"precision": "float32"}})


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name, bytes) pairs, duplicates allowed."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns about duplicates, which are the point
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name, data in files:
                archive.writestr(name, data)
    return buffer.getvalue()


def parts():
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezipped(**fields):
    """The bundle with changed manifest fields; a value of None removes the field."""
    manifest = json.loads(parts()["manifest.json"])
    manifest.update(fields)
    manifest = {name: value for name, value in manifest.items() if value is not None}
    return zipped({**parts(), "manifest.json": json.dumps(manifest)}.items())


def refusal(data, **arguments):
    with pytest.raises(BundleError) as caught:
        bundle.unpack(data, **arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence and 10 < len(sentence) < 400
    return sentence


def test_what_was_packed_comes_back():
    found = bundle.unpack(DATA)
    assert found.members == MEMBERS
    assert found.manifest.version == 7 and found.manifest.state_shapes == ((4, 2), (3,))
    assert found.manifest.members["actor.tflite"] == {"precision": "float32", "bytes": 1024,
                                                      "sha256": bundle.sha256(MEMBERS["actor.tflite"])}
    assert bundle.pack(found.manifest, found.members, found.manifest.members) == DATA


def test_a_bundle_says_what_its_graph_takes_and_how_long_it_remembers_where_that_is_not_the_usual():
    told = {"inputs": ("observation", "previous_done"), "memory": "trial", "memory_id": "kin"}
    data = bundle.pack(replace(MANIFEST, **told), MEMBERS, {})
    found = bundle.unpack(data).manifest
    assert {name: getattr(found, name) for name in told} == told and bundle.pack(found, MEMBERS, {}) == data
    assert found.input_shapes == {"observation": (105,), "previous_done": (1,), "state_0": (4, 2), "state_1": (3,)}
    for name in told:  # software from before they came refuses what it does not know
        with zipfile.ZipFile(io.BytesIO(bundle.pack(replace(MANIFEST, **{name: told[name]}), MEMBERS, {}))) as archive:
            assert set(json.loads(archive.read("manifest.json"))) & set(told) == {name}
    usual = bundle.unpack(DATA).manifest
    assert (usual.inputs, usual.memory, usual.memory_id) == (("observation",), "episode", None)


@pytest.mark.parametrize("path", shipped_policies().values(), ids=list(shipped_policies()))
def test_manifests_of_shipped_bundles_are_written_as_they_were(path):
    found = bundle.read(path)
    with zipfile.ZipFile(path) as archive:
        written = archive.read("manifest.json")
    with zipfile.ZipFile(io.BytesIO(bundle.pack(found.manifest, found.members, found.manifest.members))) as archive:
        assert archive.read("manifest.json") == written


@pytest.mark.parametrize("exploration", [Exploration("uniform"), Exploration("gaussian", 0.1),
                                         Exploration("uniform", limit=0.5), Exploration("gaussian", 0.1, limit=0.5),
                                         Exploration("epsilon_greedy", 0.05, 3),
                                         Exploration("epsilon_greedy", 0.05, 3, 0.5)])
def test_a_bundle_says_how_to_explore(exploration):
    data = bundle.pack(replace(MANIFEST, stochastic=False, exploration=exploration), MEMBERS, {})
    found = bundle.unpack(data).manifest
    assert found.exploration == found.explores == exploration
    assert bundle.pack(found, MEMBERS, {}) == data
    # A limit is named only where there is one: software from before there were any refuses what it does not know.
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        written = json.loads(archive.read("manifest.json"))["exploration"]
    assert ("limit" in written) == (exploration.limit != 1.0)


def test_without_a_word_on_it_a_stochastic_actor_explores_by_its_distribution_and_others_do_not():
    assert "exploration" not in json.loads(parts()["manifest.json"])  # as in bundles from before there was a choice
    assert bundle.unpack(DATA).manifest.explores == Exploration("squashed_gaussian")
    assert bundle.unpack(bundle.pack(replace(MANIFEST, stochastic=False), MEMBERS, {})).manifest.explores is None


def test_a_bundle_says_what_it_lacks():
    found = bundle.unpack(DATA)
    assert found.member("actor.keras") == MEMBERS["actor.keras"]
    with pytest.raises(BundleError, match="no actor_int8.tflite; it holds actor.keras, actor.tflite"):
        found.member("actor_int8.tflite")
    found.check_robot("Ant-v5", 105, 8)
    with pytest.raises(BundleError, match="27 observations and 8 actions.* 105 and 8"):
        found.check_robot("Ant-v5", 27, 8)
    with pytest.raises(BundleError, match="expected a policy for Spot, found one for Ant-v5"):
        found.check_robot("Spot", 105, 8)


def test_a_policy_that_is_told_its_task_says_so_and_is_refused_where_nobody_tells_it():
    data = bundle.pack(replace(MANIFEST, observation_size=139), MEMBERS, {"actor.tflite": {"precision": "float32"}})
    told = bundle.unpack(bundle.told_task(data, 34))
    assert told.manifest.task_input == 34 and told.members == MEMBERS
    assert replace(told.manifest, task_input=0) == bundle.unpack(data).manifest
    told.check_robot("Ant-v5", 139, 8)
    with pytest.raises(BundleError, match="expected a policy that goes by the robot's 105 observations alone, found "
                                          "one that is told its task in 34 more: choose another, or evaluate"):
        told.check_robot("Ant-v5", 105, 8)
    with pytest.raises(BundleError, match="the robot has 104 observations"):
        told.check_robot("Ant-v5", 104, 8)


def test_variants_are_found_by_name_in_each_form():
    names = ("actor.tflite", "actor_int8.tflite", "actor_small.keras")
    found = bundle.unpack(bundle.pack(MANIFEST, dict.fromkeys(names, b"x"), {}))
    assert found.variants(".tflite") == {"float32": "actor.tflite", "int8": "actor_int8.tflite"}
    assert found.variant("int8", ".tflite") == "actor_int8.tflite"
    with pytest.raises(BundleError, match="no variant 'float32' that ends in .keras; those are small"):
        found.variant("float32", ".keras")


def test_every_truncation_is_refused():
    for length in range(len(DATA)):
        assert "not a whole bundle" in refusal(DATA[:length])


def test_a_bundle_cut_off_after_a_member_that_is_a_zip_itself_is_no_other_bundle():
    data = bundle.pack(MANIFEST, {"actor.keras": zipped([("config.json", b"{}")])}, {})
    assert bundle.unpack(data).manifest.version == 7
    for length in range(len(data)):
        assert "not a whole bundle" in refusal(data[:length])


def test_no_altered_byte_changes_what_is_accepted():
    """Bytes that zip itself ignores (dates, attributes) may change; then the content is the very same."""
    original, refused = bundle.unpack(DATA), 0
    for position in range(len(DATA)):
        for change in (0x01, 0xFF):
            altered = bytearray(DATA)
            altered[position] ^= change
            try:
                assert bundle.unpack(bytes(altered)) == original, f"byte {position} went unnoticed"
            except BundleError:
                refused += 1
    assert refused > len(DATA)


@pytest.mark.parametrize("name", ["actor.tflite", "actor.keras"])
def test_tampered_and_wrong_sized_members_are_refused(name):
    """With valid zip checksums, as someone who repacks the file would leave them."""
    altered = bytearray(MEMBERS[name])
    altered[len(altered) // 2] ^= 1
    assert f"{name} was altered: sha256 should be" in refusal(zipped({**parts(), name: bytes(altered)}.items()))
    cut = zipped({**parts(), name: MEMBERS[name][:-1]}.items())
    assert f"{name} should have {len(MEMBERS[name])} bytes, found {len(MEMBERS[name]) - 1}" in refusal(cut)


def test_members_and_manifest_must_agree():
    missing = {name: data for name, data in parts().items() if name != "actor.keras"}
    assert "lists actor.keras, actor.tflite, but the bundle holds actor.tflite" in refusal(zipped(missing.items()))
    extra = {**parts(), "run_me.py": b""}
    assert "holds actor.keras, actor.tflite, run_me.py" in refusal(zipped(extra.items()))


def test_a_zip_without_manifest_and_an_empty_one_are_refused():
    assert "no manifest.json; it holds actor.keras, actor.tflite" in refusal(zipped(MEMBERS.items()))
    assert "it holds nothing" in refusal(zipped([]))


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", b"\x1f\x8b" + bytes(100), bytes(5000)])
def test_what_is_no_zip_is_refused(data):
    assert f"expected a zip file, found {len(data)} bytes" in refusal(data)


@pytest.mark.parametrize("text, found", [
    (b"", "JSONDecodeError"), (b"[]", "TypeError"), (b"null", "TypeError"), (b"{}", "format_version"),
    (b"\xff\xfe\x00", "UnicodeDecodeError"), (b"[" * 100_000, "RecursionError"),
    (parts()["manifest.json"][:-2], "JSON"),
])
def test_what_is_no_manifest_is_refused(text, found):
    sentence = refusal(zipped({**parts(), "manifest.json": text}.items()))
    assert "manifest.json is not a manifest" in sentence and found in sentence


@pytest.mark.parametrize("fields, sentence", [
    ({"format_version": 2}, "format version 2, this software reads 1"),
    ({"format_version": "1" * 200}, "format version 1111"),
    ({"format_version": True}, "format version True, this software reads 1"),
    ({"color": "red", "anchor": 1}, "unknown fields: anchor, color"),
    ({"version": None}, "has no version"),
    ({"members": None}, "has no members"),
    ({"observation_size": 0}, "observation_size must be a positive integer, found 0"),
    ({"observation_size": True}, "found True"),
    ({"action_size": "8"}, "action_size must be a positive integer, found 8"),
    ({"version": -1}, "version must be an integer from 0"),
    ({"version": 2**64}, "found 18446744073709551616"),
    ({"algorithm": 5}, "algorithm must be text"),
    ({"stochastic": 1}, "stochastic must be true or false"),
    ({"state_shapes": [4]}, "list of lists of positive integers"),
    ({"inputs": ["previous_action"]}, "previous_done, each once, observation among them"),
    ({"inputs": ["observation", "previous_state"]}, "some of observation"),
    ({"inputs": ["observation", "observation"]}, "each once"),
    ({"inputs": [["observation"]]}, "some of observation"),
    ({"inputs": "observation"}, "some of observation"),
    ({"memory": "session"}, "memory must be episode or trial, found session"),
    ({"memory": ["trial"]}, "memory must be episode or trial"),
    ({"memory_id": 7}, "memory_id must be text or null, found 7"),
    ({"task_input": -1}, "task_input must be an integer of at least 0, found -1"),
    ({"task_input": True}, "task_input must be an integer of at least 0, found True"),
    ({"state_shapes": [[-4]]}, "list of lists of positive integers"),
    ({"members": []}, "members must be a table"),
    ({"members": {"actor.keras": "abc"}}, "members must be a table of tables"),
    ({"members": {"actor.keras": {}, "actor.tflite": {}}}, "actor.keras should have None bytes, found 250"),
    ({"provenance": []}, "provenance must be a table"),
    ({"signature": 1}, "signature must be text or null"),
    ({"exploration": "uniform"}, "exploration must be a table with kind, scale, levels and limit, found uniform"),
    ({"exploration": {"scale": 0.1}}, "exploration must be a table with kind, scale, levels and limit"),
    ({"exploration": {"kind": "uniform", "size": 1}}, "exploration must be a table with kind, scale, levels and limit"),
    ({"exploration": {"kind": "pink"}}, "exploration must be squashed_gaussian or uniform"),
    ({"exploration": {"kind": "p" * 1000}}, "found 'ppp"),
    ({"exploration": {"kind": "gaussian", "scale": -1}}, "scale of gaussian exploration must be a finite number"),
    ({"exploration": {"kind": "squashed_gaussian"}, "stochastic": False}, "needs a stochastic actor"),
])
def test_a_manifest_that_lies_is_refused(fields, sentence):
    assert sentence in refusal(rezipped(**fields))


@pytest.mark.parametrize(("name", "label", "found", "expected"), [
    ("actor.tflite", "precision", "int8", "float32"), ("actor_int8.tflite", "precision", "float32", "int8"),
    ("actor_int8.tflite", "backend", "keras", "litert"), ("actor.keras", "backend", "litert", "keras")])
def test_a_member_is_what_the_manifest_calls_it(name, label, found, expected):
    right = bundle.pack(MANIFEST, {**MEMBERS, name: b"x"}, {name: {label: expected}})
    assert bundle.unpack(right).manifest.members[name][label] == expected
    wrong = bundle.pack(MANIFEST, {**MEMBERS, name: b"x"}, {name: {label: found}})
    assert f"the {label} of {name} should be {expected}, found {found} in manifest.json" in refusal(wrong)


def test_statistics_are_of_every_observation():
    def check(statistics):
        bundle.unpack(rezipped(observation_statistics=statistics)).check_robot("Ant-v5", 105, 8)

    check({"mean": [0.0] * 105, "variance": [1.0] * 105})
    for wrong in ({"mean": [0.0] * 104}, {"mean": "x"}, {"variance": [-1.0] * 105}, {"mean": [None] * 105}):
        with pytest.raises(BundleError, match=r"observation_statistics must be .* found another (mean|variance)"):
            check(wrong)


def test_a_manifest_has_each_field_once():
    text = parts()["manifest.json"].replace(b'"robot"', b'"robot": "Spot", "robot"')
    assert "manifest.json has each field once, found robot more than once" in refusal(
        zipped({**parts(), "manifest.json": text}.items()))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "a\\b", ".hidden", "C:x", "folder/", "new\nline"])
def test_names_that_are_paths_are_refused(name):
    assert "plain file names" in refusal(zipped([*parts().items(), (name, b"x")]))
    with pytest.raises(BundleError, match="plain file names"):
        bundle.pack(MANIFEST, {name: b"x"}, {})


@pytest.mark.parametrize("name", ["manifest.json", "actor.tflite"])
def test_duplicated_members_are_refused(name):
    assert f"each member once, found '{name}' 2 times" in refusal(zipped([*parts().items(), (name, parts()[name])]))
    with pytest.raises(BundleError, match="once"):
        bundle.pack(MANIFEST, {"manifest.json": b"x"}, {})


def test_bombs_and_floods_are_refused_before_they_are_unpacked():
    bomb = zipped([*parts().items(), ("zeros", bytes(5_000_000))])
    assert len(bomb) < 10_000
    assert "unpacks to 500" in refusal(bomb, max_bytes=1_000_000)
    many = zipped([*parts().items(), *((f"m{i}", b"") for i in range(1000))])
    assert "at most 64 members, found 1003" in refusal(many)
    assert f"has {len(DATA)} bytes, at most 100 are allowed" in refusal(DATA, max_bytes=100)


def test_a_bomb_that_lies_about_its_size_is_refused():
    data = bytearray(zipped([*parts().items(), ("zeros", bytes(5_000_000))]))
    sizes = [at for at in range(len(data)) if data[at:at + 4] == struct.pack("<I", 5_000_000)]
    assert sizes
    for at in sizes:
        data[at:at + 4] = struct.pack("<I", 10)
    refusal(bytes(data), max_bytes=1_000_000)


def test_other_compressions_and_encryption_are_no_way_around():
    assert bundle.unpack(zipped(parts().items(), zipfile.ZIP_LZMA)).members == MEMBERS
    data = bytearray(zipped(parts().items(), zipfile.ZIP_LZMA))
    data[60] ^= 0xFF
    refusal(bytes(data))
    encrypted = bytearray(DATA)
    for at in range(len(encrypted)):  # the flag bit in each local and central header
        offset = {b"PK\x03\x04": 6, b"PK\x01\x02": 8}.get(bytes(encrypted[at:at + 4]))
        if offset:
            encrypted[at + offset] |= 1
    assert "encrypted" in refusal(bytes(encrypted))


def test_read_names_the_path(tmp_path):
    path = tmp_path / "walker.zip"
    write_atomically(path, DATA)
    assert bundle.read(path) == bundle.unpack(DATA) and os.listdir(tmp_path) == ["walker.zip"]
    path.write_bytes(DATA[:-10])
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "loop.zip").symlink_to(tmp_path / "loop.zip")
    for wrong, found in ((path, "not a whole bundle"), (tmp_path / "none.zip", "No such file"),
                         (tmp_path, "no regular file"), (tmp_path / "pipe.zip", "no regular file"),
                         ("/dev/zero", "no regular file"), (tmp_path / "loop.zip", "symbolic links"),
                         (path / "x", "Not a directory")):
        with pytest.raises(BundleError) as caught:
            bundle.read(wrong)
        assert str(caught.value).startswith(f"{wrong}: ") and str(caught.value).count(str(wrong)) == 1
        assert found in str(caught.value)
    with pytest.raises(BundleError, match=f"walker.zip: the bundle has {len(DATA) - 10} bytes, at most 100"):
        bundle.read(path, max_bytes=100)


def test_unreadable_files_are_named(tmp_path, monkeypatch):
    """Root may read everything, so the refusal of the system is played."""
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)
    write_atomically(tmp_path / "secret.zip", DATA)
    monkeypatch.setattr(bundle.Path, "read_bytes", refuse)
    with pytest.raises(BundleError, match="secret.zip: expected a policy bundle, found none .Permission denied."):
        bundle.read(tmp_path / "secret.zip")


FILL_THE_DISK = """
import resource, signal, sys
from ant_rl_core.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # exceeding the limit is then an OSError, as a full disk is
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomically(sys.argv[1], b"x" * 100_000)
except OSError as error:
    print("refused", error.errno)
"""


def test_no_space_left_keeps_the_old_file_whole(tmp_path):
    path = tmp_path / "walker.zip"
    write_atomically(path, DATA)
    done = subprocess.run([sys.executable, "-c", FILL_THE_DISK, path], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("refused"), done.stderr
    assert bundle.read(path).members == MEMBERS and os.listdir(tmp_path) == ["walker.zip"]


def test_a_failed_rename_keeps_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "walker.zip"
    write_atomically(path, DATA)

    def fail(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == DATA and os.listdir(tmp_path) == ["walker.zip"]


def test_shipped_policies_are_found_by_name(tmp_path, monkeypatch):
    prefixes = [tmp_path / "first", tmp_path / "absent", tmp_path / "second"]
    for prefix, names in ((prefixes[0], ["default"]), (prefixes[2], ["default", "small"])):
        folder = prefix / "share" / "ant_rl" / "policies"
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.zip").write_bytes(DATA)
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(map(str, prefixes)))
    monkeypatch.setenv("HOME", "/home/someone")
    assert resolve_policy("default") == prefixes[0] / "share/ant_rl/policies/default.zip"
    assert bundle.read(resolve_policy("small")) == bundle.unpack(DATA)
    assert str(resolve_policy("~/w.zip")) == "/home/someone/w.zip"
    assert str(resolve_policy("./default")) == "default"
    for unknown in ("fast", ""):
        with pytest.raises(BundleError, match=f"found '{unknown}'; shipped: default, small"):
            resolve_policy(unknown)
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    with pytest.raises(BundleError, match="none was found: is the workspace built and sourced"):
        resolve_policy("default")
