"""Tables and events of a run: rectangular, exact after a kill, and readable by TensorBoard's own reader."""

import csv
import math
import re

import numpy as np
import pytest
import tensorflow as tf

from trainer.runs.curve import Means, Table, TableError
from trainer.runs.events import Events


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "curve.csv")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_means_are_those_of_the_updates_that_gave_a_figure():
    means, rng = Means(), np.random.default_rng(0)
    loss, rare = rng.normal(size=7), rng.normal(size=7)
    for k in range(7):
        means.add({"loss": loss[k], **({"rare": rare[k]} if k % 3 == 0 else {}),
                   "sometimes": math.nan if k % 2 else loss[k], "never": math.nan})
    found = means.take()
    assert list(found) == ["loss", "rare", "sometimes", "never"]
    assert found["loss"] == pytest.approx(loss.mean()) and found["rare"] == pytest.approx(rare[::3].mean())
    assert found["sometimes"] == pytest.approx(loss[::2].mean()) and math.isnan(found["never"])
    assert means.take() == {}
    means.add({"loss": 0.1 + 0.2})
    assert means.take() == {"loss": 0.1 + 0.2}, "a single update is written as it is"


def test_a_column_that_comes_later_is_empty_in_the_rows_before(table):
    table.add({"env_steps": 10, "mean_return": math.nan})
    table.add({"env_steps": 20, "mean_return": 1.5, "loss": 0.1 + 0.2})
    table.add({"env_steps": 30, "mean_return": 2.5})
    Table(table.path).add({"env_steps": 40, "mean_return": 3.5, "loss": 1, "other": 2})
    assert rows(table.path) == [["env_steps", "mean_return", "loss", "other"], ["10", "nan", "", ""],
                                ["20", "1.5", "0.30000000000000004", ""], ["30", "2.5", "", ""],
                                ["40", "3.5", "1", "2"]]
    columns, found = table.read()
    assert columns == rows(table.path)[0] and float(found[1]["loss"]) == 0.1 + 0.2


@pytest.mark.parametrize("torn", [b"", b"30", b"30,7"])
def test_rows_after_a_checkpoint_go_and_what_was_torn_with_them(table, torn):
    for steps in (10, 20, 25):
        table.add({"env_steps": steps, "mean_return": steps / 2})
    with open(table.path, "ab") as file:
        file.write(torn)
    table.drop_after(20)
    table.add({"env_steps": 30, "mean_return": 15.0, "loss": 1})
    assert rows(table.path) == [["env_steps", "mean_return", "loss"], ["10", "5.0", ""], ["20", "10.0", ""],
                                ["30", "15.0", "1"]]


@pytest.mark.parametrize("content", [None, b"", b"env_steps,mean_re"])
def test_a_table_without_a_whole_header_begins_anew(table, content):
    if content is not None:
        table.path.write_bytes(content)
    table.drop_after(20)
    table.sync()
    table.add({"env_steps": 30, "mean_return": 1.0})
    assert rows(table.path) == [["env_steps", "mean_return"], ["30", "1.0"]]
    table.clear()
    assert not table.path.exists()


@pytest.mark.parametrize("spoil, line, found", [
    (lambda lines: [*lines[:2], b"\r\n", *lines[2:]], 3, "none"),
    (lambda lines: [*lines[:2], b"\n", *lines[2:]], 3, "none"),
    (lambda lines: [lines[0], lines[1][:4] + b"\r\n", *lines[2:]], 2, "'10,5'"),
    (lambda lines: [*lines[:2], lines[2].replace(b",", b"\0,", 1), lines[3]], 3, r"'20\x00,10.0,1'"),
    (lambda lines: [*lines[:2], lines[2].replace(b"20", b"2\xff"), lines[3]], 3, "'2\ufffd,10.0,1'"),
    (lambda lines: [*lines[:2], lines[2].replace(b"10.0", b"1O.0"), lines[3]], 3, "'20,1O.0,1'"),
    (lambda lines: [*lines[:2], lines[2].replace(b"20", b"-20"), lines[3]], 3, "'-20,10.0,1'"),
    (lambda lines: [*lines[:2], lines[2].replace(b"\r\n", b",7\r\n"), lines[3]], 3, "'20,10.0,1,7'"),
    (lambda lines: [lines[0].replace(b"env", b"enw"), *lines[1:]], 1, "'enw_steps,mean_return,loss'"),
    (lambda lines: [lines[0].replace(b"loss", b"mean_return"), *lines[1:]], 1, "'env_steps,mean_return,mean_return'"),
    (lambda lines: lines[1:], 1, "'10,5.0,1'"),
    (lambda lines: [b"\0" * 40 + b"\n"], 1, "'" + r"\x00" * 40 + "'")])
def test_a_damaged_line_is_named_and_the_file_stays(table, spoil, line, found):
    for steps in (10, 20, 25):
        table.add({"env_steps": steps, "mean_return": steps / 2, "loss": 1})
    table.path.write_bytes(b"".join(spoil(table.path.read_bytes().splitlines(keepends=True))))
    before = table.path.read_bytes()
    said = (rf"^{table.path}, line {line}: expected [^\n]*, found {re.escape(found)}: mend [^\n]*, or move the file "
            "away and a new one begins$")
    for spoilt in (table.check, table.drop_after):
        with pytest.raises(TableError, match=said):
            spoilt(30)
    assert table.path.read_bytes() == before


def test_a_row_that_an_editor_left_without_its_end_stays(table):
    for steps in (10, 20):
        table.add({"env_steps": steps, "mean_return": steps / 2})
    whole = table.path.read_bytes()
    table.path.write_bytes(whole.removesuffix(b"\r\n"))
    table.drop_after(20)
    assert table.path.read_bytes() == whole


def read(folder):
    """(version, [(step, training time [s], {tag: value})]) of the one events file."""
    (path,) = folder.glob("events.out.tfevents.*")
    first, session, *rest = [tf.compat.v1.Event.FromString(record.numpy())
                             for record in tf.data.TFRecordDataset(str(path))]
    assert session.session_log.status == tf.compat.v1.SessionLog.START
    return first.file_version, [(event.step, event.wall_time - first.wall_time,
                                 {value.tag: value.simple_value for value in event.summary.value}) for event in rest]


def test_events_hold_the_numbers_of_the_rows_at_the_time_of_the_training(tmp_path):
    events = Events(tmp_path, wall_seconds=100.0)
    # As they come from a table, and as they come from the training.
    events.add("train", [{"env_steps": "10", "wall_seconds": "2.5", "mean_return": "nan", "loss": ""}])
    events.add("train", [{"env_steps": 30, "wall_seconds": 7.5, "mean_return": 1.5, "loss": 2}])
    events.add("evaluation", [{"env_steps": 30, "wall_seconds": 7.5, "mean_return": 3.0}])
    version, found = read(tmp_path)
    assert version == "brain.Event:2"
    assert [(step, pytest.approx(seconds), values) for step, seconds, values in found] == [
        (10, 2.5, {}), (30, 7.5, {"train/mean_return": 1.5, "train/loss": 2.0}),
        (30, 7.5, {"evaluation/mean_return": 3.0})]
    events.close()
    Events(tmp_path, 0.0).close()
    assert read(tmp_path)[1] == [], "a resumed run begins the file again, from its tables"
