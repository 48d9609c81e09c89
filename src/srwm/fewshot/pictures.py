"""A picture of one episode: what a model was shown, what it answers, and what its matrices have written into themselves."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srwm.data import ImageClasses
from srwm.fewshot.episodes import Episodes
from srwm.fewshot.evaluate import to_float
from srwm.fewshot.model import EpisodeModel


@torch.inference_mode()
def draw_episode(model: EpisodeModel, data: ImageClasses, episode: Episodes, path: Path, title: str) -> None:
    """Draw the first episode of `episode` over `data` into a PNG.

    Above: the support in the order in which the model read it, with its labels, and the queries with the model's answers.
    Below: the shift W - W_0 of the first block's first head before, during and after reading the support.
    """
    from matplotlib.figure import Figure

    support, labels, query, truth = (part[0] for part in episode)
    shown = to_float(torch.from_numpy(data.images)[torch.cat([support, query])])
    features = model.eval().embed(shown)[None]
    shifts, state = [torch.zeros(0)], None
    for step in range(len(support)):
        _, state = model.forward_features(features[:, step : step + 1], labels[None, step : step + 1], state)
        shifts.append(_first_head(state))
    shifts[0] = torch.zeros_like(shifts[1])
    logits = model.query_features(features[:, len(support) :], state)[0]
    absent = torch.ones(logits.shape[1], dtype=torch.bool).index_fill_(0, labels, False)
    answers = logits.masked_fill(absent, -torch.inf).softmax(-1)

    figure = Figure(figsize=(12, 8.2), layout="constrained")
    figure.suptitle(title)
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.15, 2.1, 1.9))
    upper, middle, lower = parts
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    upper.suptitle("shown once, with its label", x=0.01, ha="left", fontsize=11)
    for axes, image, label in zip(_row(upper, len(support)), shown, labels.tolist(), strict=False):
        _picture(axes, image, f"this is {letters[label]}", "black")
    middle.suptitle("then asked: which is it?", x=0.01, ha="left", fontsize=11)
    grid = middle.subplots(2, (len(query) + 1) // 2, squeeze=False).flatten()
    for axes, image, answer, label in zip(grid, shown[len(support) :], answers, truth.tolist(), strict=False):
        guess = int(answer.argmax())
        verdict = "" if guess == label else f", is {letters[label]}"
        _picture(
            axes, image, f"{letters[guess]} {100 * answer[guess]:.0f} %{verdict}", "tab:green" if guess == label else "tab:red"
        )
    for axes in grid[len(query) :]:
        axes.axis("off")
    lower.suptitle("what the matrix wrote into itself: W - W₀ of the first head", x=0.01, ha="left", fontsize=11)
    limit = max(shift.abs().max().item() for shift in shifts)
    chosen = [0, 1, len(support)] if len(support) > 1 else [0, 1]
    panels = lower.subplots(1, len(chosen))
    for axes, step in zip(panels, chosen, strict=True):
        drawn = axes.imshow(shifts[step], cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        read = {0: "before the first image", 1: "after one image"}.get(step, f"after {step} images")
        axes.set_title(f"{read}: norm {shifts[step].norm():.2f}", fontsize=10)
        _mark_columns(axes, *shifts[step].shape)
    lower.colorbar(drawn, ax=list(panels))
    figure.savefig(path, dpi=110)


def _first_head(state: Any) -> Tensor:
    while not isinstance(state, Tensor):
        state = state[0]
    return state[0, 0]


def _row(figure: Any, count: int) -> Sequence[Any]:
    return list(figure.subplots(1, count, squeeze=False).flatten())


def _picture(axes: Any, image: Tensor, text: str, color: str) -> None:
    axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(text, color=color, fontsize=11)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=1.5)


def _mark_columns(axes: Any, inputs: int, columns: int) -> None:
    outputs = columns - 2 * inputs - 4
    edges = [0, outputs, outputs + inputs, outputs + 2 * inputs, columns]
    for edge in edges[1:-1]:
        axes.axvline(edge - 0.5, color="black", linewidth=0.6)
    axes.set_xticks([(a + b - 1) / 2 for a, b in pairwise(edges)], ["answer y", "query q", "key k", "rates β"])
    axes.set_ylabel("input")
    axes.set_yticks([])
