"""A run's folder as figures."""

import csv
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure

from srwm.data import UserError
from srwm.rl.envs import EnvConfig
from srwm.rl.report import draw_comparison, draw_learning_curve, load_agent
from srwm.training.runs import create_run


@pytest.mark.parametrize("count", [1, 24, 25, 26, 49, 50, 51, 1000])
def test_a_curve_has_twenty_five_points_at_most(config, tmp_path, monkeypatch, count) -> None:
    """Each the mean over the episodes of its rows, of which the last says where it lies."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: figures.append(self))
    create_run(tmp_path / "run", config)
    with (tmp_path / "run" / "metrics.csv").open("w") as file:
        log = csv.writer(file)
        log.writerow(("step", "frames", "minutes", "episodes", "return"))
        log.writerows((n, 100 * n, 0.1 * n, 1 + n % 3, n) for n in range(1, count + 1))
    draw_comparison({"run": [tmp_path / "run"]}, tmp_path / "curves.png")
    for axes, scale in zip(figures[0].axes, (100, 0.1), strict=True):
        points = axes.lines[0].get_xydata().tolist()
        assert min(count, 13) <= len(points) <= 25
        size = round(points[0][0] / scale)
        episodes = [1 + n % 3 for n in range(1, size + 1)]
        total = sum(n * each for n, each in enumerate(episodes, 1))
        assert points[0][1] == pytest.approx(total / sum(episodes))
        assert points[-1][0] == pytest.approx(scale * count)


def test_several_tasks_have_a_panel_each(config, tmp_path, monkeypatch) -> None:
    """The mean over the rows of a point; a run of other tasks beside it has no line there."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: figures.append(self))
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


def test_several_games_with_published_ranges_are_drawn_normalised(config, tmp_path, monkeypatch) -> None:
    """Starpilot's range is 2.5 to 64, maze's 5 to 10; a point is the mean over ten rows, by their episodes."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: figures.append(self))
    create_run(tmp_path / "run", replace(config, env=EnvConfig(kind="procgen", names=("maze", "starpilot"))))
    with (tmp_path / "run" / "metrics.csv").open("w") as file:
        log = csv.writer(file)
        log.writerow(("step", "frames", "minutes", "episodes", "return", "return_maze", "return_starpilot"))
        log.writerows((n, 100 * n, 0.1 * n, 1 + n % 2, 0, 5 + 5 * (n % 2), 2.5) for n in range(1, 101))
    draw_comparison({"run": [tmp_path / "run"]}, tmp_path / "curves.png")
    axes, *_ = figures[0].axes
    assert axes.get_ylabel() == "normalised score of training episodes"
    assert axes.lines[0].get_xydata() == pytest.approx(np.array([[1000 * n, 1 / 3] for n in range(1, 11)]))


@pytest.mark.parametrize(
    ("budget", "chosen", "of_processor"),
    [("frames", False, False), ("frames", True, True), ("cpu_minutes", False, True), ("cpu_minutes", True, True)],
)
def test_minutes_are_of_processor_time_where_asked_for_or_where_the_budget_is_in_it(
    config, tmp_path, monkeypatch, budget, chosen, of_processor
) -> None:
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: figures.append(self))
    create_run(tmp_path / "run", replace(config, **{"frames": None, "minutes": None, "cpu_minutes": None, budget: 10}))
    (tmp_path / "run" / "metrics.csv").write_text("step,frames,minutes,cpu_minutes,episodes,return\n1,10,7,3,2,0.5\n")
    draw_comparison({"run": [tmp_path / "run"]}, tmp_path / "curves.png", processor_time=chosen)
    axes = figures[0].axes[1]
    assert axes.lines[0].get_xdata().tolist() == [3 if of_processor else 7]
    assert axes.get_xlabel() == ("minutes of processor time" if of_processor else "minutes")


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("agent", "features", -32, "agent: features: expected 1 or more, got -32"),
        ("agent", "frames_at_once", 0, "agent: frames_at_once: expected 1 or more, got 0"),
        ("env", "names", [3], "env: names: expected str, got 3"),
    ],
)
def test_impossible_values_in_a_run_are_told(env, config, tmp_path, part, name, value, message) -> None:
    create_run(tmp_path / "run", config)
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content[part][name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_agent(tmp_path / "run", env.spec)


@pytest.mark.parametrize("name", ["frames", "minutes", "episodes"])
def test_a_column_that_is_missing_is_named(config, tmp_path, name) -> None:
    run = tmp_path / "run"
    create_run(run, config)
    (run / "metrics.csv").write_text("step,frames,minutes,episodes,return\n1,10,0.1,2,0.5\n".replace(name, "other"))
    draw = [partial(draw_comparison, {"run": [run]}, tmp_path / "curves.png")]
    for call in draw if name == "episodes" else [*draw, partial(draw_learning_curve, run)]:
        with pytest.raises(UserError, match=rf"metrics\.csv: not a table of metrics, a row has no {name}"):
            call()


def test_a_run_of_the_other_laboratory_is_told(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"k_shot": 1, "seed": 0}')
    with pytest.raises(UserError, match="is a run of srwm fewshot, which alone"):
        draw_comparison({"run": [tmp_path]}, tmp_path / "curves.png")
