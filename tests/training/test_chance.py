"""A run that stays at chance is warned of, again and again; one that learns is not."""

from srwm.training.chance import ChanceWatch


def warnings_of(accuracies: list[float], every: int = 20, patience: int = 100) -> list[int]:
    watch = ChanceWatch(limit=0.22, patience=patience)
    found = [watch.update(every * (i + 1), every, accuracy) for i, accuracy in enumerate(accuracies)]
    return [every * (i + 1) for i, row in enumerate(found) if row]


def test_chance_is_warned_of_again_and_again() -> None:
    assert warnings_of([0.2, 0.21] * 8) == [100, 200, 300]


def test_learning_is_not_disturbed() -> None:
    assert warnings_of([0.2, 0.2, 0.2, 0.25, 0.35] + [0.6] * 20) == []


def test_a_fall_back_to_chance_is_warned_of_after_the_patience() -> None:
    assert warnings_of([0.6] * 10 + [0.2] * 8) == [300]


def test_the_window_and_its_mean_come_back() -> None:
    assert ChanceWatch(limit=0.07, patience=10).update(10, 10, 0.0625) == (10, 0.0625)
