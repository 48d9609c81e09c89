"""The model answers from the past alone, whatever the task."""

import pytest
import torch

from srwm.nn import StackConfig
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.batch import Bin
from srwm.sequences.config import TaskConfig
from srwm.sequences.model import SequenceModel
from srwm.sequences.tasks import build_task

STACK = StackConfig("srwm", d_model=8, num_heads=2, num_layers=1, ff_factor=1)
AUTOMATON = TaskConfig("automaton", 4, 6, AutomatonConfig(groups=("z2",)))
TASKS = [TaskConfig("shuffle2", 2, 10), TaskConfig("a5", 10, 10), AUTOMATON]


@pytest.mark.parametrize("config", TASKS)
def test_answers_depend_on_the_past_alone(config: TaskConfig) -> None:
    task = build_task(config)
    model = SequenceModel(task, STACK).eval()
    batch = task.draw("train", (0,), 3, Bin(8, 8))
    logits = model(batch)
    assert logits.shape == (*batch.targets.shape, len(task.classes))
    tokens = batch.tokens.clone()
    tokens[:, 5:] = (tokens[:, 5:] + 1) % 2
    changed = model(batch._replace(tokens=tokens))
    assert torch.equal(logits[:, :5], changed[:, :5])
    assert not torch.allclose(logits[:, 5:], changed[:, 5:])


def test_the_label_of_a_symbol_is_seen() -> None:
    task = build_task(AUTOMATON)
    model = SequenceModel(task, STACK)
    batch = task.draw("train", (0,), 3, Bin(4, 4))
    assert not torch.allclose(model(batch), model(batch._replace(labels=batch.labels.roll(1, 1))))
