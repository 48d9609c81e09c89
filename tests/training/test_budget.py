"""A budget is spent by whichever of its limits comes first."""

from srwm.training.budget import Budget
from srwm.training.progress import Progress


def test_a_budget_ends_with_what_comes_first():
    assert Budget(steps=10, minutes=None).spent(Progress(step=5, seconds=1e9)) == 0.5
    assert Budget(steps=None, minutes=2).spent(Progress(step=5, seconds=30)) == 0.25
    assert Budget(steps=10, minutes=2).spent(Progress(step=5, seconds=90)) == 0.75
    assert Budget(steps=10, minutes=2).spent(Progress(step=20, seconds=0)) == 1.0
    assert Budget(steps=None, minutes=None, cpu_minutes=2).spent(Progress(step=5, seconds=1e9, cpu_seconds=30)) == 0.25
    assert Budget(steps=10, minutes=2, patience=3).spent(Progress(step=1, validations_since_best=2)) == 0.1
    assert Budget(steps=10, minutes=2, patience=3).spent(Progress(step=1, validations_since_best=3)) == 1.0
    assert Budget(frames=100).spent(Progress(step=5, frames=40)) == 0.4


def test_a_budget_names_its_limits() -> None:
    assert str(Budget(steps=12_000, minutes=0.5)) == "12,000 steps or 0.5 minutes"
    assert str(Budget(frames=5, cpu_minutes=30, patience=3)) == "5 frames or 30 CPU minutes or 3 validations without a new best"
