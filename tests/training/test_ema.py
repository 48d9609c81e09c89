import pytest
import torch
from torch import nn

from srwm.training.ema import EMA


def test_weights_and_buffers_follow():
    model = nn.BatchNorm1d(1)
    average = EMA(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.running_mean.fill_(8.0)
        model.num_batches_tracked.fill_(7)
    average.update(model, step=100)
    assert average.model.weight.item() == pytest.approx(2.0)
    assert average.model.running_mean.item() == pytest.approx(4.0)
    assert average.model.num_batches_tracked.item() == 7
    assert model.weight.item() == 3.0


def test_early_steps_forget_the_start():
    model = nn.Linear(1, 1, bias=False)
    average = EMA(model, decay=0.999)
    start = model.weight.item()
    with torch.no_grad():
        model.weight.fill_(start + 1)
    average.update(model, step=1)
    assert average.model.weight.item() == pytest.approx(start + 1 - 2 / 11)
