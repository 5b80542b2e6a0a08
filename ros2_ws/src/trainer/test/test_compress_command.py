"""The command `./run compress`: what it writes, and what it says where it can't."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from trials import untrained

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.files import FolderLock
from policy_node.actor import load_actor
from trainer.algorithms.on_policy.ppo import PPO, PPOConfig
from trainer.compress import command, compression, distil, fit, report, variants
from trainer.compress.measure import Speed, measure
from trainer.compress.report import Report, Row

QUICK = {"episodes": "2", "seconds": "0", "num_threads": "1"}


@pytest.fixture(scope="module")
def small_bundle():
    learner = PPO(PPOConfig(actor_hidden=(8, 8), critic_hidden=(8,), initial_log_std=-1.0), 1, 105, 8, seed=3)
    return learner.policy({"seed": 3})


@pytest.fixture
def given(tmp_path, small_bundle, monkeypatch):
    """Path of a bundle, in a folder where short lessons are given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(variants, "CALIBRATION_SAMPLES", 200)
    monkeypatch.setattr(distil, "COURSE", fit.Course(2, 300, 1, 1, 1e-3))
    (tmp_path / "given.zip").write_bytes(small_bundle)
    return tmp_path / "given.zip"


def refused(capsys, bundle, *methods, **arguments):
    """What is said on stderr when the arguments are refused and nothing is written."""
    assert command.main(str(bundle), methods, {**QUICK, **arguments}) == 2
    assert not list(bundle.parent.glob("**/*.part")) and not list(bundle.parent.glob("**/policy.zip"))
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_variants_come_in_one_bundle_with_a_report(given, capsys):
    summary = given.parent / "summary.json"
    assert command.main(str(given), ["float32", "int8", "distil_6"], {**QUICK, "output": "out/here", "summary": str(
        summary), "episodes": "3", "evaluation_seed": "70"}) == 0
    folder = given.parent / "out" / "here"
    assert {path.name for path in folder.iterdir()} == {"policy.zip", "report.md", "report.json", "report.png"}
    made = policy_bundle.read(folder / "policy.zip")
    assert set(made.variants(".tflite")) == {"float32", "int8", "distil_6"}
    original = policy_bundle.read(given)
    assert made.member("actor.tflite") == original.member("actor.tflite")
    assert made.member("actor.keras") == original.member("actor.keras")
    assert made.manifest.version == original.manifest.version
    record = made.manifest.provenance["compression"]
    assert record["command"].startswith(f"./run compress {given} float32 int8 distil_6 ")
    assert "out/here" not in str(record)
    for name in made.variants(".tflite"):
        load_actor(made, variant=name).warm_up(1)

    found = json.loads((folder / "report.json").read_text())
    assert found == json.loads(summary.read_text())
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["float32", "int8", "distil_6"]
    for name, row in rows.items():
        assert len(row["returns"]) == 3 and row["mean_return"] == pytest.approx(np.mean(row["returns"]))
        assert row["file_bytes"] == len(made.member(made.variant(name, ".tflite")))
        assert row["share_of_float_return"] == pytest.approx(row["mean_return"] / rows["float32"]["mean_return"])
    assert rows["float32"]["max_action_difference"] < 1e-5
    assert rows["distil_6"]["max_action_difference"] > rows["int8"]["max_action_difference"] > 1e-5
    from trainer.runs.evaluate import evaluate
    expected = evaluate(load_actor(made, variant="int8"), 3, 70, num_threads=1)
    assert rows["int8"]["returns"] == [episode.episode_return for episode in expected]
    text = (folder / "report.md").read_text()
    assert "| int8 |" in text and "report.png" in text
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "int8" in capsys.readouterr().out


def test_speed_is_measured_as_it_is_and_under_the_limits(given, monkeypatch):
    monkeypatch.setattr(compression, "measure", partial(measure, runs=1))
    # With the Pi's share of a core the start of Keras takes most of a minute.
    arguments = {**QUICK, "seconds": "0.05", "keras": "false", "core_share": "0.9"}
    assert command.main(str(given), ["float16"], arguments) == 0
    rows = {row["name"]: row for row in json.loads((given.parent / "runs/compress/report.json").read_text())["rows"]}
    assert list(rows) == ["Keras eager", "Keras tf.function", "numpy", "float32", "float16"]
    for row in rows.values():
        assert row["speed"]["figures"]["cpu_us"] > 0 and row["speed"]["under"] == ""
        assert row["limited"]["figures"] or row["limited"]["reason"]
        assert row["limited"]["under"]
    assert rows["Keras eager"]["speed"]["figures"]["cpu_us"] > rows["float16"]["speed"]["figures"]["cpu_us"]
    made = policy_bundle.read(given.parent / "runs/compress/policy.zip")
    assert set(made.members) == {"actor_float16.tflite"}


def test_what_the_usual_methods_can_not_make_of_an_actor_is_a_row_with_the_reason(given, monkeypatch):
    given.write_bytes(untrained("dqn").policy({}))
    monkeypatch.setattr(variants, "USUAL", ("float16", "prune_50"))
    assert command.main(str(given), [], QUICK) == 0
    rows = json.loads((given.parent / "runs/compress/report.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["float32", "float16", "prune_50"]
    assert "found GREATER_EQUAL" in rows[2]["reason"] and rows[2]["returns"] == []
    assert "prune_50: expected a float32 actor" in (given.parent / "runs/compress/report.md").read_text()


def test_wrong_words_are_refused(given, capsys):
    assert "there is no method 'int9'; the nearest one is 'int8'" in refused(capsys, given, "int9")
    assert "nearest one is 'episodes'" in refused(capsys, given, episode="3")
    assert "effort must be positive, found 0.0" in refused(capsys, given, effort="0")
    assert "core_share must be from 0.1 to 1, found 2.0" in refused(capsys, given, core_share="2")
    assert "episodes must be at least 1" in refused(capsys, given, episodes="0")
    assert "summary must be in a folder that exists" in refused(capsys, given, summary="no/such/file.json")
    (given.parent / "file").write_text("")
    assert "output must be a folder that can be made" in refused(capsys, given, output="file/folder")


def test_what_is_there_is_not_written_over(given, capsys, monkeypatch):
    """Neither the bundle that is read, nor what an earlier compression or a training left."""
    monkeypatch.setattr(command, "compress", lambda *_: pytest.fail("the refusal comes first"))

    def said(**arguments):
        before = {path: path.read_bytes() for path in given.parent.rglob("*") if path.is_file()}
        assert command.main(str(source), ["float16"], {**QUICK, **arguments}) == 2
        assert {path: path.read_bytes() for path in given.parent.rglob("*") if path.is_file()} == before
        return capsys.readouterr().err

    (given.parent / "run").mkdir()
    source = given.rename(given.parent / "run" / "policy.zip")
    assert ("output must be a folder without results of a compression or a training, found run with policy.zip; name "
            "another or move them away") in said(output="run")
    (given.parent / "link").symlink_to("run")
    assert "found link with policy.zip" in said(output="link")
    assert "summary must not be what is read, found link/policy.zip" in said(output="new", summary="link/policy.zip")
    assert "summary must be another file than what output has" in said(output="new", summary="new/policy.zip")
    for name in ("checkpoint.npz", "report.md", "report.json"):
        (given.parent / name).mkdir()
        (given.parent / name / name).write_text("")
        assert f"found {name} with {name}" in said(output=name)
    with FolderLock(given.parent / "new", "a training"):
        assert "a compression must have its folder to itself, found new in use" in said(output="new")


def test_without_its_picture_a_compression_is_whole(given, monkeypatch, capsys):
    def undrawable(_):
        assert (given.parent / "runs/compress/report.md").exists()
        raise RuntimeError("no font")

    monkeypatch.setattr(report, "picture", undrawable)
    assert command.main(str(given), ["float16"], QUICK) == 0
    captured = capsys.readouterr()
    assert "report.png can't be drawn (RuntimeError: no font); all else is there" in captured.err
    assert "float16" in captured.out and (given.parent / "runs/compress/policy.zip").exists()
    assert command.main(str(given), ["float16"], QUICK) == 2, "a second one must not write over the first"


def test_a_student_larger_than_its_teacher_is_refused(given, capsys):
    assert "distil_512: expected a student that is smaller than its teacher" in refused(capsys, given, "distil_512")


def test_an_actor_of_edges_alone_does_not_become_int8(given, capsys, ant_bundle):
    given.write_bytes(ant_bundle)
    assert "int8: expected an actor with layers between its first and its last" in refused(capsys, given, "int8")


def test_bundles_that_can_not_be_compressed_are_refused(given, capsys):
    whole = policy_bundle.read(given)

    def with_(members=None, **changes):
        given.write_bytes(policy_bundle.pack(replace(whole.manifest, **changes), members or whole.members, {}))
        return refused(capsys, given, "int8")

    assert "expected a policy for Ant-v5, on whose rollouts variants are calibrated" in with_(robot="Walker2d-v5")
    assert "105 observations and 8 actions, but the bundle was made for 104" in with_(observation_size=104)
    damaged = {**whole.members, "actor.tflite": whole.member("actor.tflite")[:400]}
    assert "actor.tflite: expected a LiteRT graph" in with_(damaged)
    assert "no variant 'float32' that ends in .tflite" in with_({"actor.keras": whole.member("actor.keras")})
    later = given.read_bytes().replace(b'"format_version": 1', b'"format_version": 9')
    given.write_bytes(later)
    assert "given.zip: " in refused(capsys, given, "int8")
    assert "no_such.zip: expected a policy bundle" in refused(capsys, given.parent / "no_such.zip")


def test_the_report_says_what_could_not_be_measured():
    found = Report("x", "abc", {"episodes": 1, "evaluation_seed": 0}, {
        "cpu": "c", "cores": 2, "load_average": 0.0, "python": "3", "versions": {}}, [
        Row("Keras eager", speed=Speed(None, "", "took longer than 1 s"), limited=Speed(None, "cgroup", "died")),
        Row("float32", 10, 9, 100, 25, (1.0, 3.0), 1, 0.0, 0.5)])
    text = report.markdown(found)
    assert "Keras eager: took longer than 1 s" in text and "Keras eager: under the limits: died" in text
    assert "25 %" in text and "2 ± 1 (100.0 %)" in text
    assert report.picture(found).startswith(b"\x89PNG")
    assert report.plain(found)["rows"][1]["std_return"] == 1.0


def test_help_describes_every_method_and_setting():
    text = command.help_text()
    assert "core_share:=0.3" in text and "distil_64x64" in text and "512" in text
