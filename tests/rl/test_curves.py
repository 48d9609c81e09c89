"""Learning curves of runs."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from srwm.errors import UserError
from srwm.rl.config import TrainConfig
from srwm.rl.curves import draw_comparison, draw_learning_curve
from srwm.rl.envs import EnvConfig
from srwm.training.runs import create_run


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """Those that are drawn, which are not written."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: drawn.append(self))
    return drawn


@pytest.mark.parametrize("count", [1, 24, 25, 26, 49, 50, 51, 1000])
def test_a_curve_has_twenty_five_points_at_most(config, tmp_path, figures, count) -> None:
    """Each the mean over the episodes of its rows, of which the last says where it lies; equally many rows, up to one."""
    create_run(tmp_path / "run", config)
    with (tmp_path / "run" / "metrics.csv").open("w") as file:
        log = csv.writer(file)
        log.writerow(("step", "frames", "minutes", "episodes", "return"))
        log.writerows((n, 100 * n, 0.1 * n, 1 + n % 3, n) for n in range(1, count + 1))
    draw_comparison({"run": [tmp_path / "run"]}, tmp_path / "curves.png")
    for axes, scale in zip(figures[0].axes, (100, 0.1), strict=True):
        points = axes.lines[0].get_xydata()
        assert len(points) == min(count, 25)
        ends = (points[:, 0] / scale).round().astype(int)
        sizes = np.diff(ends, prepend=0)
        assert sizes.max() - sizes.min() <= 1
        assert ends[-1] == count
        for size, end, value in zip(sizes, ends, points[:, 1], strict=True):
            rows = np.arange(end - size + 1, end + 1)
            assert value == pytest.approx((rows * (1 + rows % 3)).sum() / (1 + rows % 3).sum())


def test_several_tasks_have_a_panel_each(config, tmp_path, figures) -> None:
    """The mean over the rows of a point; a run of other tasks beside it has no line there."""
    for run, names in {"both": ("a", "b"), "one": ("b",)}.items():
        create_run(tmp_path / run, config)
        with (tmp_path / run / "metrics.csv").open("w") as file:
            log = csv.writer(file)
            log.writerow(("step", "frames", "minutes", "episodes", "return", *(f"return_{name}" for name in names)))
            log.writerows((n, 100 * n, 0.1 * n, 2, n, *((n, -n)[-len(names) :])) for n in range(1, 51))
    draw_comparison({run: [tmp_path / run] for run in ("both", "one")}, tmp_path / "curves.png")
    panels = {axes.get_title(): axes for axes in figures[0].axes}
    assert {name: len(axes.lines) for name, axes in panels.items() if name} == {"a": 1, "b": 2}
    assert panels["a"].lines[0].get_xydata().tolist() == [[100.0 * n, n - 2] for n in range(5, 51, 5)]
    assert panels["b"].lines[0].get_xydata().tolist() == [[100.0 * n, 2 - n] for n in range(5, 51, 5)]
    assert figures[0].axes[0].get_ylabel() == "mean return of training episodes"


def make_games(folder: Path, config: TrainConfig, *games: str) -> None:
    """A run of 100 rows: maze earns 5 or 10 (its range), by turns, and any other game 2.5, which is starpilot's least."""
    create_run(folder, replace(config, env=EnvConfig(kind="procgen", names=games)))
    with (folder / "metrics.csv").open("w") as file:
        log = csv.writer(file)
        log.writerow(("step", "frames", "minutes", "episodes", "return", *(f"return_{game}" for game in games)))
        for n in range(1, 101):
            earned = [5 + 5 * (n % 2) if game == "maze" else 2.5 for game in games]
            log.writerow((n, 100 * n, 0.1 * n, 1 + n % 2, 0, *earned))


def test_several_games_with_published_ranges_are_drawn_normalized(config, tmp_path, figures) -> None:
    """A point is the mean over ten rows, by their episodes."""
    make_games(tmp_path / "run", config, "maze", "starpilot")
    draw_comparison({"run": [tmp_path / "run"]}, tmp_path / "curves.png")
    axes, *_ = figures[0].axes
    assert axes.get_ylabel() == "normalized score of training episodes"
    assert axes.lines[0].get_xydata() == pytest.approx(np.array([[1000 * n, 1 / 3] for n in range(1, 11)]))


def test_one_game_and_games_beside_tasks_without_ranges_are_drawn_as_they_are(config, tmp_path, figures) -> None:
    make_games(tmp_path / "one", config, "maze")
    make_games(tmp_path / "ranged", config, "maze", "starpilot")
    make_games(tmp_path / "other", config, "maze", "a game without a range")
    draw_comparison({"one": [tmp_path / "one"]}, tmp_path / "curves.png")
    draw_comparison({name: [tmp_path / name] for name in ("ranged", "other")}, tmp_path / "curves.png")
    for figure in figures:
        axes, *_ = figure.axes
        assert axes.get_ylabel() == "mean return of training episodes"
        assert all((line.get_ydata() == 0).all() for line in axes.lines)


@pytest.mark.parametrize("length", [1, 30, 100])
def test_a_legend_of_many_long_names_stays_within_the_figure(config, tmp_path, figures, length) -> None:
    groups = {f"{n:02d}{'x' * length}": [tmp_path / "run"] for n in range(20)}
    make_games(tmp_path / "run", config, "maze")
    draw_comparison(groups, tmp_path / "curves.png")
    (figure,) = figures
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(groups)
    box, paper = legend.get_window_extent(), figure.bbox
    assert paper.x0 <= box.x0 < box.x1 <= paper.x1
    assert paper.y0 <= box.y0 < box.y1 <= paper.y1
    assert all(axes.bbox.height > 0.2 * figure.dpi * 4 for axes in figure.axes)


@pytest.mark.parametrize(
    ("budget", "chosen", "of_processor"),
    [("frames", False, False), ("frames", True, True), ("cpu_minutes", False, True), ("cpu_minutes", True, True)],
)
def test_minutes_are_of_processor_time_where_asked_for_or_where_the_budget_is_in_it(
    config, tmp_path, figures, budget, chosen, of_processor
) -> None:
    create_run(tmp_path / "run", replace(config, **{"frames": None, "minutes": None, "cpu_minutes": None, budget: 10}))
    (tmp_path / "run" / "metrics.csv").write_text("step,frames,minutes,cpu_minutes,episodes,return\n1,10,7,3,2,0.5\n")
    draw_comparison({"run": [tmp_path / "run"]}, tmp_path / "curves.png", processor_time=chosen)
    axes = figures[0].axes[1]
    assert axes.lines[0].get_xdata().tolist() == [3 if of_processor else 7]
    assert axes.get_xlabel() == ("minutes of CPU time" if of_processor else "minutes")


@pytest.mark.parametrize("name", ["frames", "minutes", "episodes"])
def test_a_column_that_is_missing_is_named(config, tmp_path, name) -> None:
    run = tmp_path / "run"
    create_run(run, config)
    (run / "metrics.csv").write_text("step,frames,minutes,episodes,return\n1,10,0.1,2,0.5\n".replace(name, "other"))
    draw = [partial(draw_comparison, {"run": [run]}, tmp_path / "curves.png")]
    for call in draw if name == "episodes" else [*draw, partial(draw_learning_curve, run)]:
        with pytest.raises(UserError, match=rf"metrics\.csv: not a table of metrics, a row has no {name}"):
            call()


def test_a_few_shot_run_is_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"k_shot": 1, "seed": 0}')
    with pytest.raises(UserError, match="is a run of srwm fewshot; use the commands"):
        draw_comparison({"run": [tmp_path]}, tmp_path / "curves.png")
