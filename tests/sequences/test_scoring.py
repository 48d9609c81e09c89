"""Accuracy by sequence, by token and by position."""

import pytest
import torch

from srwm.sequences.batch import Batch, Bin
from srwm.sequences.config import TaskConfig
from srwm.sequences.scoring import Score, batches, score
from srwm.sequences.tasks import build_task


def test_right_answers_are_all_right() -> None:
    task = build_task(TaskConfig("dyck1", 2, 20))
    found = score(task, lambda batch: batch.targets, "test", Bin(21, 40), 50)
    assert (found.sequences, found.tokens, found.reached) == (1.0, 1.0, 40)
    assert found.by_position == (1.0,) * 40


def test_wrong_answers_count_where_they_are() -> None:
    task = build_task(TaskConfig("parity", 20, 20))

    def answer(batch: Batch) -> torch.Tensor:
        answers = batch.targets.clone()
        answers[:, 9] = 1 - answers[:, 9]
        answers[0, 15] = 1 - answers[0, 15]
        return answers

    found = score(task, answer, "test", Bin(20, 20), 30)
    assert found.sequences == 0.0
    assert found.tokens == pytest.approx(1 - 31 / 600)
    assert found.by_position[8:10] == (1.0, 0.0)
    assert found.by_position[15] == pytest.approx(29 / 30)


def test_padding_is_no_answer() -> None:
    task = build_task(TaskConfig("aa-star", 2, 24))
    found = score(task, lambda batch: torch.zeros_like(batch.targets), "test", task.training, 40)
    assert found.tokens == 0.5
    assert found.by_position == (1.0, 0.0) * (len(found.by_position) // 2)


def test_the_length_reached_is_the_longest_above_95_percent() -> None:
    assert Score(0.0, 0.0, (1.0,) * 19 + (0.5, 0.0)).reached == 20
    assert Score(0.0, 0.0, (0.95, 0.9)).reached == 0


def test_sequences_are_the_same_at_each_call_and_others_for_another_purpose() -> None:
    task = build_task(TaskConfig("s3", 16, 16))
    one, again, other = (
        torch.cat([batch.tokens for batch in batches(task, purpose, Bin(16, 16), 5000)]) for purpose in ("val", "val", "test")
    )
    assert len(one) == 5000
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
