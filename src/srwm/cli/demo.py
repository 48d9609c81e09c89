"""`srwm demo`: a trained model classifies letters that it has never seen, in under two minutes and without a download."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from srwm import samples
from srwm.cli.options import parse, set_threads
from srwm.data import ImageClasses
from srwm.data.drawings.glyphs import GlyphDrawer
from srwm.errors import UserError
from srwm.fewshot.episodes import Episodes, EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import evaluate_baselines
from srwm.fewshot.evaluation.evaluate import Accuracy, embed_views, evaluate
from srwm.fewshot.evaluation.written import COLUMNS, column_shares, written_by_block
from srwm.fewshot.figures.episode import draw_episode
from srwm.fewshot.figures.trace import trace_episode
from srwm.fewshot.models.factory import with_head
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.answers import answers
from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.image_files import labeled_files
from srwm.learner.pretrained import load_model, packaged
from srwm.nn import SelfReferential
from srwm.ranges import AtLeast, Seed
from srwm.training.figures import check_figure

_SHAPE = EpisodeShape(n_way=5, k_shot=1, queries=10)
_EPISODES_MEASURED = 1000


@dataclass(frozen=True)
class DemoOptions:
    """Test a trained model on letters of unseen scripts, one labeled example of each, and draw one episode."""

    model: str = "characters"
    """bundled checkpoint, run folder or folder with a checkpoint, of a model for 28x28 images with bright ink on black"""
    figure: Path = Path("srwm-demo.png")
    """file to write the figure to"""
    episodes: Annotated[int, AtLeast(2)] = 10_000
    """number of test episodes"""
    seed: Seed = 0
    """random seed of the drawings and of the episodes"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


def demo(arguments: Sequence[str]) -> None:
    """Teach a learner the sample drawings; test the model and baselines on the same episodes; draw one episode.

    Args:
        arguments: the words of the command line after `srwm demo`.

    Raises:
        UserError: the model does not fit the demo, or the figure cannot be written.
    """
    options = parse(DemoOptions, "srwm demo", arguments)
    check_figure(options.figure)
    set_threads(options.threads)
    began = time.monotonic()
    model = load_model(options.model)
    if model.config.n_way < _SHAPE.n_way or model.config.image_shape != (1, 28, 28):
        raise UserError(f"{options.model}: expected a model of {_SHAPE.n_way} ways or more and images (1, 28, 28)")
    letters = GlyphDrawer().draw("test", options.seed, instances=20)
    _show_learner(model)
    if isinstance(model, ResidualModel):
        memory = with_head(model, "memory")
        assert isinstance(memory, FewShotModel)
        model = memory
        print("What follows is about the memory of this model, not about the class means by which the learner answers.")
    _describe(model, letters, options)
    features = embed_views(model, letters)
    accuracy = _test(model, letters, features, options)
    episodes = draw_episodes(
        torch.from_numpy(letters.offsets), _SHAPE, _EPISODES_MEASURED, torch.Generator().manual_seed(options.seed)
    )
    _show_written(model, features[0], episodes)
    print(f"\n{_draw(model, letters, accuracy, options)} ({time.monotonic() - began:.0f} s in all)")


def _show_learner(model: FewShotModel) -> None:
    """Teach a learner the sample drawings, and ask it about others."""
    learner = FewShotLearner(model).learn(samples.EXAMPLES)
    files, labels = labeled_files(samples.QUESTIONS)
    found = answers(learner, files)
    right = sum(answer.label == label for answer, label in zip(found, labels, strict=True))
    print(f"FewShotLearner: learned {', '.join(learner.classes_)} from one drawing each.")
    print(f"Of {len(files)} other drawings of them, it names {right} correctly.")
    print("Draw your own: srwm playground. Learn your own folders: srwm learn FOLDER --save FILE.\n")


def _describe(model: FewShotModel, letters: ImageClasses, options: DemoOptions) -> None:
    weights = sum(parameter.numel() for parameter in model.parameters())
    origin = f"the model was trained on {model.metadata.trained_on or 'data that the checkpoint does not name'}"
    if options.model in packaged():
        origin = "the model was trained on none of these alphabets and typefaces"
    print(f"Model: {options.model}, {weights:,} weights. They stay fixed; the model learns by writing to its memory.")
    if _is_referential(model):
        print("The memory is a self-referential weight matrix: it computes its own changes at every step.")
    print(f"Data: {len(letters)} Armenian and Georgian letters, drawn with pens of many widths, bent and rotated;")
    print(f"{origin}.")
    print(f"Episode: {_SHAPE.n_way} letters, {_SHAPE.k_shot} labeled example of each, then {_SHAPE.queries} queries.\n")


def _test(model: FewShotModel, letters: ImageClasses, features: list[Tensor], options: DemoOptions) -> Accuracy:
    accuracy = evaluate(model, letters, _SHAPE, options.episodes, options.seed, features)
    baselines = evaluate_baselines(model, letters, _SHAPE, options.episodes, options.seed, features)
    print("Accuracy on the queries:")
    print(f"  {'chance':<42}{100 / _SHAPE.n_way:5.2f} %")
    for name, found in baselines.items():
        print(f"  {name:<42}{found}")
    print(f"  {'the memory':<42}{accuracy}")
    print(f"  95 % intervals over {accuracy.episodes:,} episodes, the same for all rows. Features are from the model's stem.")
    return accuracy


def _show_written(model: FewShotModel, features: Tensor, episodes: Episodes) -> None:
    blocks = written_by_block(model, features, episodes)
    if not blocks:
        return
    print("\nWhich columns of the matrix change, as shares of |W - W_0|^2 after the examples:")
    print(f"  {'columns':<10}" + "".join(f"{name:>9}" for name in COLUMNS) + f"{'|W - W_0| / |W_0|':>21}")
    for found in blocks:
        shares = "".join(f"{100 * share:7.1f} %" for share in found.shares.values())
        print(f"  block {found.block:<4}{shares}{100 * found.change:19.1f} %")
    print("  y gives the output, q and k the query and the key, beta the learning rates.")


def _draw(model: FewShotModel, letters: ImageClasses, accuracy: Accuracy, options: DemoOptions) -> str:
    """Draw one episode, and describe what the figure shows."""
    generator = torch.Generator().manual_seed(options.seed)
    episode = draw_episodes(torch.from_numpy(letters.offsets), _SHAPE, 1, generator)
    trace = trace_episode(model, letters, episode)
    if trace is None:
        return "No picture: this model has no self-referential matrix"
    shares = column_shares(torch.from_numpy(trace.shifts[-1]))
    outputs, addresses = 100 * shares["y"], 100 * (shares["q"] + shares["k"])
    scripts = "unseen scripts" if options.model in packaged() else "Armenian and Georgian"
    title = (
        f"Letters of {scripts}, one example each (test accuracy {accuracy}, chance 20 %)\n"
        f"{addresses:.1f} % of the squared change of the matrix is in its query and key columns"
    )
    draw_episode(trace, options.figure, title)
    return (
        f"Picture: {options.figure} shows one episode and the matrix of block {trace.layer}, head {trace.head}.\n"
        f"Of its |W - W_0|^2, {outputs:.1f} % is in the output columns y,\n"
        f"{addresses:.1f} % in the query and key columns q and k"
    )


def _is_referential(model: FewShotModel) -> bool:
    return any(isinstance(part, SelfReferential) for part in model.modules())
