"""What a run has learned: its agent, its scores, its learning curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from srwm.data import UserError
from srwm.rl.agent import Agent
from srwm.rl.config import TrainConfig
from srwm.rl.envs import EnvConfig, EnvSpec, build_env
from srwm.rl.evaluate import Scores, estimate, interquartile_mean, level_sets, normalise, play
from srwm.rl.seeds import evaluation_seed
from srwm.rl.train import WEIGHTS, build_agent
from srwm.training.checkpoint import Checkpoints, load_weights
from srwm.training.figures import check_figure
from srwm.training.runs import check_columns, keep_result, read_config_of, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 3
"""Of single tasks, side by side."""
_IN_LEGEND = 6
"""Labels side by side."""
_POINTS = {False: 25, True: 10}
"""Of a run in a comparison, at most; fewer where there are several tasks, each of which has but a part of the episodes."""


def load_agent(folder: Path, spec: EnvSpec) -> Agent:
    """The agent of a run, with its final weights or, before the end of training, those of its last checkpoint.

    Raises UserError where the folder is not a run or there are no weights, or they are corrupt or do not fit.
    """
    agent = build_agent(read_config_of(folder, TrainConfig).agent, spec)
    if (folder / WEIGHTS).exists():
        load_weights(folder / WEIGHTS, agent)
    elif Checkpoints(folder / "checkpoints").load(agent) is None:
        raise UserError(f"{folder} holds no weights yet")
    return agent.eval()


def score_run(folder: Path, episodes: int = 200, *, greedy: bool = True, chance: bool = False, seed: int = 1) -> dict[str, Any]:
    """Scores of a run on each level set, also written to `evaluation.json` in the run folder.

    Scores of more episodes that are there already stay, and stderr says so. Where actions are drawn from the policy (not
    `greedy`) it is `evaluation-sampled.json`. With `chance` the scores are those of actions drawn at random in its tasks
    instead, in `chance.json`. Environments and actions of a `seed` are not those of a training of equal seed.

    Per level set: the mean return of each task; where all have a published range, also normalised, and of the normalised
    scores the mean and the interquartile mean over all tasks; each as {value, low, high}. Raises UserError as `load_agent`.
    """
    config = read_config_of(folder, TrainConfig)
    sets: dict[str, Any] = {}
    own = evaluation_seed(seed)
    for name, env_config in level_sets(config.env, episodes).items():
        with build_env(env_config, own) as env:
            returns = play(load_agent(folder, env.spec), env, episodes, greedy=greedy, chance=chance, seed=own)
            sets[name] = summary(returns, env_config)
    result = {"episodes": episodes, "greedy": greedy and not chance, "seed": seed, "sets": sets}
    keep_result(folder / scores_file(greedy=greedy, chance=chance), result, folder / WEIGHTS)
    return result


def scores_file(*, greedy: bool = True, chance: bool = False) -> str:
    """The name of the file in a run folder that holds such scores."""
    return "chance.json" if chance else "evaluation.json" if greedy else "evaluation-sampled.json"


def summary(returns: Scores, config: EnvConfig) -> dict[str, Any]:
    """The statistics of one level set's returns."""
    result: dict[str, Any] = {"returns": {name: vars(estimate({name: values})) for name, values in returns.items()}}
    normalised = normalise(returns, config)
    if normalised is not None:
        result["normalised"] = {name: vars(estimate({name: values})) for name, values in normalised.items()}
        result["normalised mean"] = vars(estimate(normalised))
        result["normalised interquartile mean"] = vars(estimate(normalised, interquartile_mean))
    return result


def draw_learning_curve(folder: Path) -> Path:
    """Draw the return of each task over frames and minutes into `learning_curve.png`; returns its path.

    Minutes are of processor time where the budget of the run is.
    """
    from matplotlib.figure import Figure

    rows = read_metrics(folder)
    tasks = sorted({name for row in rows for name in row if name.startswith("return_")})
    figure = Figure(figsize=(10, 4), layout="constrained")
    minutes = "cpu_minutes" if read_config_of(folder, TrainConfig).cpu_minutes else "minutes"
    check_columns(folder, rows, "frames", minutes)
    for axes, over in zip(figure.subplots(1, 2, sharey=True), ("frames", minutes), strict=True):
        for task in tasks:
            known = [row for row in rows if task in row]
            axes.plot([row[over] for row in known], [row[task] for row in known], lw=1, label=task.removeprefix("return_"))
        axes.set(
            xlabel="minutes of processor time" if over == "cpu_minutes" else over, ylabel="mean return of training episodes"
        )
        axes.grid(alpha=0.3)
    if tasks:
        figure.axes[0].legend(loc="best", fontsize="small")
    path = folder / "learning_curve.png"
    figure.savefig(path, dpi=150)
    return path


def draw_comparison(groups: Mapping[str, Sequence[Path]], path: Path, *, processor_time: bool = False) -> None:
    """Draw the mean return over the tasks of runs, over frames and over minutes: a colour for each group.

    A point is the mean over the episodes of a twenty-fifth of a run's rows, rounded up, the last with what remains: a run has
    25 points at most. Where there are several tasks, it is of a tenth of the rows, of the normalised score if every run's tasks
    have one, and each task has a panel besides, over frames, where a point is the mean return over those rows. Minutes are of
    processor time if `processor_time` or where every run's budget is in it, else of wall time. Raises UserError where a folder
    is not a run or no episode has ended in it, and as `check_figure`.
    """
    from matplotlib.figure import Figure

    check_figure(path)
    configs = {folder: read_config_of(folder, TrainConfig) for folders in groups.values() for folder in folders}
    if processor_time or all(config.cpu_minutes for config in configs.values()):
        minutes, label_of_minutes = "cpu_minutes", "minutes of processor time"
    else:
        minutes = label_of_minutes = "minutes"
    logs = {folder: [row for row in read_metrics(folder) if "return" in row] for folder in configs}
    tasks = sorted({name for rows in logs.values() for row in rows for name in row if name.startswith("return_")})
    figure = Figure(layout="constrained")
    over_frames, over_minutes, panels = _axes_of_comparison(figure, tasks)
    scores = {folder: _normalised(rows, configs[folder].env) for folder, rows in logs.items()}
    normalised = bool(panels) and all(found.size for found in scores.values())
    for number, (name, folders) in enumerate(groups.items()):
        for folder in folders:
            rows = logs[folder]
            check_columns(folder, rows, "episodes", "frames", minutes)
            if not rows:
                raise UserError(f"{folder}: no row of its metrics has an episode of every task yet")
            parts = _parts(len(rows), _POINTS[bool(panels)])
            values = scores[folder] if normalised else np.array([row["return"] for row in rows])
            weights = np.array([row["episodes"] for row in rows])
            points = [np.average(values[part], weights=weights[part]) for part in parts]
            label = name if folder == folders[0] else None
            ends = [rows[part][-1] for part in parts]
            for one, over in ((over_frames, "frames"), (over_minutes, minutes)):
                one.plot([row[over] for row in ends], points, f"C{number % 10}", label=label)
            for task, panel in panels.items():
                if task in rows[0]:
                    means = [fmean(row[task] for row in rows[part]) for part in parts]
                    panel.plot([row["frames"] for row in ends], means, f"C{number % 10}", lw=1)
    over_frames.set(ylabel=f"{'normalised score' if normalised else 'mean return'} of training episodes")
    over_minutes.set(xlabel=label_of_minutes)
    figure.legend(*over_frames.get_legend_handles_labels(), loc="outside upper center", ncols=_IN_LEGEND, fontsize="small")
    figure.savefig(path, dpi=150)


def _axes_of_comparison(figure: "Figure", tasks: Sequence[str]) -> tuple["Axes", "Axes", dict[str, "Axes"]]:
    """Those over frames and over minutes, side by side, and below them a panel for each task where there are several."""
    single = tasks if len(tasks) > 1 else []
    panel_rows = -(-len(single) // _PANELS)
    figure.set_size_inches(10, 4 + 2.5 * panel_rows)
    grid = figure.add_gridspec(1 + panel_rows, 2 * _PANELS, height_ratios=[4, *panel_rows * [2.5]])
    over_frames = figure.add_subplot(grid[0, :_PANELS], xlabel="frames")
    over_minutes = figure.add_subplot(grid[0, _PANELS:], sharey=over_frames)
    over_minutes.tick_params(labelleft=False)
    panels = {}
    for number, task in enumerate(single):
        panel_row, column = divmod(number, _PANELS)
        title = task.removeprefix("return_")
        panels[task] = figure.add_subplot(grid[1 + panel_row, 2 * column : 2 * column + 2], title=title, xlabel="frames")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return over_frames, over_minutes, panels


def _parts(count: int, most: int) -> list[slice]:
    """So many things in `most` parts or fewer, of equal size, the last with what remains."""
    size = -(-count // most)
    *starts, last = range(0, count - size + 1, size)
    return [*(slice(start, start + size) for start in starts), slice(last, None)]


def _normalised(rows: list[dict[str, float]], config: EnvConfig) -> NDArray[np.float64]:
    """The normalised score of each row, the mean over the tasks; of none where a task has none or is not in the rows."""
    if any(f"return_{task}" not in row for row in rows for task in config.names):
        return np.empty(0)
    found = normalise({task: np.array([row[f"return_{task}"] for row in rows]) for task in config.names}, config)
    return np.empty(0) if found is None else np.mean(list(found.values()), axis=0)
