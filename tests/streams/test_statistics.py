"""Running statistics against numpy, in pieces, and beyond their memory."""

import numpy as np
import torch
from torch.testing import assert_close

from srwm.streams import statistics
from srwm.streams.statistics import Statistics, follow, standardize


def fresh(batch: int, width: int) -> Statistics:
    return Statistics(*torch.zeros(4, batch, width, dtype=torch.float64))


def test_values_are_standardized_by_all_values_up_to_them() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 1e6 + 3 * torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    present = torch.rand(2, 40, 3, generator=generator) < 0.8
    z = standardize(x, present, follow(x, present, fresh(2, 3))[0])
    for b in range(2):
        for f in range(3):
            values: list[float] = []
            for t in range(40):
                if not present[b, t, f]:
                    assert z[b, t, f] == 0
                    continue
                values.append(x[b, t, f].item())
                deviation = np.std(values)
                expected = 0.0 if len(values) == 1 else (values[-1] - np.mean(values)) / deviation
                assert abs(z[b, t, f].item() - np.clip(expected, -4, 4)) < 2e-3


def test_pieces_and_single_steps_beyond_the_memory_agree(monkeypatch) -> None:
    monkeypatch.setattr(statistics, "MEMORY", 20)
    x = torch.randn(1, 60, 2, generator=torch.Generator().manual_seed(1))
    present = torch.ones(1, 60, 2, dtype=torch.bool)
    whole, end = follow(x, present, fresh(1, 2))
    state, steps = fresh(1, 2), []
    for t in range(60):
        before, state = follow(x[:, t : t + 1], present[:, t : t + 1], state)
        steps.append(before)
    for i in (0, 2, 3):
        assert_close(torch.cat([step[i] for step in steps], 1), whole[i])
        assert_close(state[i], end[i])
    assert end.number.max() == 20


def test_beyond_the_memory_the_mean_follows_a_change() -> None:
    x = torch.cat([torch.zeros(1, 5000, 1), torch.full((1, 6000, 1), 10.0)], 1)
    _, end = follow(x, torch.ones_like(x, dtype=torch.bool), fresh(1, 1))
    assert 9.3 < (end.total / end.number).item() < 10


def test_constant_features_are_zero() -> None:
    x = torch.full((1, 50, 1), 123456.789)
    present = torch.ones_like(x, dtype=torch.bool)
    assert (standardize(x, present, follow(x, present, fresh(1, 1))[0]) == 0).all()


def test_large_numbers_lose_no_digits() -> None:
    x = torch.arange(50.0, dtype=torch.float64)[None, :, None]
    present = torch.ones_like(x, dtype=torch.bool)
    small = standardize(x, present, follow(x, present, fresh(1, 1))[0])
    assert_close(standardize(x + 1e12, present, follow(x + 1e12, present, fresh(1, 1))[0]), small)
