"""The experts: the compiled library beside the reference, and each on a stream that it is made for."""

import pytest
import torch
from torch.testing import assert_close

from srwm.ops.cpu import library
from srwm.streams.experts import EXPERTS, Advice, ExpertState, advise, initial_experts
from srwm.streams.experts_reference import follow

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(library.LIBRARY is None, reason="the compiled library is not installed")


def samples(
    seed: int = 0, batch: int = 3, steps: int = 90, features: int = 5, classes: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, steps, features, generator=generator).clamp(-4, 4)
    z[0, :, 2] = 0  # never there
    z[1, :, 3] = (z[1, :, 3] > 0).float()
    labels = (z[..., 0] > 0).long() + (z[..., 1] > 0.5).long()
    labels[:, 7::11] = classes - 1
    labels[:, 20:25] = -1
    return z, labels


def advised(z: torch.Tensor, labels: torch.Tensor, classes: int = 4, window: int = 1000) -> tuple[Advice, ExpertState]:
    batch, _, features = z.shape
    number, seen = torch.zeros(batch, dtype=torch.long), torch.zeros(batch, classes, dtype=torch.bool)
    return advise(z, z, labels, number, seen, initial_experts(batch, features, classes, window, CPU))


@needs_library
@pytest.mark.parametrize("window", [1000, 30, 1])
@pytest.mark.parametrize("alike", [True, False])
def test_the_library_computes_the_reference(window: int, alike: bool) -> None:
    z, labels = samples()
    given = z if alike else z.flip(1).contiguous()
    number, seen = torch.tensor([0, 5, 40]), torch.zeros(3, 4, dtype=torch.bool)
    seen[1:, 0] = True
    state = initial_experts(3, 5, 4, window, CPU)
    before = [part.clone() for part in state]
    advice, after = advise(z, given, labels, number, seen, state)
    answers, answers_given, losses, *reference = follow(z, given, labels, number, seen, *state)
    assert_close(advice.answers, answers, rtol=1e-3, atol=1e-3)
    assert_close(advice.answers_given, answers_given, rtol=1e-3, atol=1e-3)
    assert_close(advice.losses, losses, rtol=1e-3, atol=1e-3)
    for one, other in zip(after, reference, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(*pair) for pair in zip(state, before, strict=True))


def test_answers_are_log_probabilities_of_the_classes_shown() -> None:
    z, labels = samples()
    answers = advised(z, labels)[0].answers
    assert answers.shape == (3, 90, len(EXPERTS), 4)
    assert (answers[:, 0] == 0).all()
    assert answers.min() == -8
    for b in range(3):
        for t in (1, 5, 60):
            shown = sorted({c for c in labels[b, :t].tolist() if c >= 0})
            missing = [c for c in range(4) if c not in shown]
            assert (answers[b, t][:, missing] == -8).all()
            assert_close(answers[b, t][:, shown].exp().sum(1), torch.ones(len(EXPERTS)), rtol=0, atol=2e-3)


def accuracy(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each expert, over the second half."""
    answers = advised(z, labels)[0].answers
    half = z.shape[1] // 2
    return (answers.argmax(3) == labels[..., None])[:, half:].float().mean((0, 1))


def test_each_kind_of_expert_learns_what_it_is_made_for() -> None:
    generator = torch.Generator().manual_seed(1)
    plane = torch.randn(2, 600, 8, generator=generator)
    linear = accuracy(plane, (plane @ torch.ones(8) > 0).long())
    assert linear[2:4].min() > 0.9
    spread = plane * torch.where(torch.arange(600) % 2 == 0, 0.3, 1.5)[:, None]
    by_variance = accuracy(spread, torch.arange(600).remainder(2).expand(2, -1))
    assert by_variance[:2].min() > 0.95
    assert by_variance[2:4].max() < 0.7
    board = accuracy(plane, ((plane[..., 0] > 0) ^ (plane[..., 0].abs() > 1)).long())
    assert board[5] > board[4] > board[2:4].max()


def test_what_forgets_soon_follows_a_change_and_its_loss_says_so() -> None:
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(4, 700, 3, generator=generator)
    labels = (z[..., 0] > 0).long()
    labels[:, 600:] = 1 - labels[:, 600:]
    advice, _ = advised(z, labels)
    right = (advice.answers.argmax(3) == labels[..., None])[:, 660:].float().mean((0, 1))
    assert right[1] > right[0] + 0.3
    assert right[3] > right[2] + 0.3
    assert (advice.losses[:, -1, 1, 0] < advice.losses[:, -1, 0, 0]).all()


@needs_library
def test_sums_stay_in_bounds_along_a_long_stream() -> None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(1, 20_000, 4, generator=generator)
    z[..., 2] = 0  # a direction in which nothing is ever learned
    z[:, 10_000:, 3] = 0  # and one that ends
    labels = (z[..., 0] > 0).long()
    advice, state = advised(z, labels)
    assert state.sums.abs().max() < 20_000
    assert state.sums.isfinite().all()
    assert (advice.answers.argmax(3) == labels[..., None])[:, -2000:].float().mean((0, 1)).min() > 0.9
