"""Metrics of a run are rows of a table, and continue where the run does."""

import csv

import pytest

from srwm.errors import UserError
from srwm.training.metrics import MetricsLog, read_metrics

COLUMNS = ("minutes", "train_loss")


def test_metrics_past_the_checkpoint_are_dropped(tmp_path):
    with MetricsLog(tmp_path, 0, COLUMNS) as log:
        for step in (2, 4, 6):
            log.write(step, train_loss=1 / step)
    before = (tmp_path / "metrics.csv").read_text()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("8,0.1")  # the process died while it wrote
    with MetricsLog(tmp_path, 4, COLUMNS) as log:
        assert [row["step"] for row in read_metrics(tmp_path)] == [2, 4]
        log.write(6, train_loss=1 / 6)
    assert (tmp_path / "metrics.csv").read_text() == before
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4", "6"]


def test_metrics_are_in_tensorboard_too(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path, 0, COLUMNS) as log:
        log.write(2, train_loss=0.5)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train_loss")] == [(2, 0.5)]


@pytest.mark.parametrize("content", [b"step,minutes\n1,a\n", b"\xff\xfe\n\n", b"garbage\n1\n", b"step\n1,2,3\n"])
def test_metrics_that_are_no_table_are_reported(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.csv: not a table of"):
        read_metrics(tmp_path)


def test_metrics_that_a_spreadsheet_saved_are_read(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(b"\xef\xbb\xbfstep,minutes\r\n1,0.5\r\n")
    assert read_metrics(tmp_path) == [{"step": 1, "minutes": 0.5}]


def test_a_column_that_a_run_does_not_have_is_named_and_the_file_stays(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,minuets\n1,0.5\n")
    with pytest.raises(UserError, match=r"metrics\.csv: no column minuets; expected step, minutes"):
        MetricsLog(tmp_path, 1, COLUMNS)
    assert (tmp_path / "metrics.csv").read_text() == "step,minuets\n1,0.5\n"
