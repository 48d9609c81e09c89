"""`srwm demo`: a trained learner meets characters that did not train it, in well under two minutes and without a download."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from srwm.cli.options import check_least, set_threads
from srwm.data.drawings.glyphs import GlyphDrawer
from srwm.errors import UserError
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import evaluate_baselines
from srwm.fewshot.evaluation.evaluate import embed_views, evaluate
from srwm.fewshot.figures.episode import draw_episode
from srwm.fewshot.figures.trace import trace_episode
from srwm.learner.pretrained import load_model, packaged
from srwm.nn import SelfReferential
from srwm.training.configuration import check_seed
from srwm.training.figures import check_figure

_SHAPE = EpisodeShape(n_way=5, k_shot=1, queries=10)


@dataclass(frozen=True)
class DemoOptions:
    """A trained learner is shown one example each of letters of scripts that did not train it, then asked for them."""

    model: str = "characters"
    """a checkpoint of the package, a run folder or a folder with a checkpoint, for images of 28x28 with bright ink"""
    figure: Path = Path("srwm-demo.png")
    """where the picture goes"""
    episodes: int = 10_000
    """episodes of the test"""
    seed: int = 0
    """seed of the drawings and of the episodes"""
    threads: int | None = None
    """threads of PyTorch; None: its own choice"""


def demo(arguments: Sequence[str]) -> None:
    """Test beside baselines on the same episodes, draw."""
    options = tyro.cli(DemoOptions, prog="srwm demo", args=list(arguments))
    check_figure(options.figure)
    check_least(2, episodes=options.episodes)
    check_seed(options.seed)
    set_threads(options.threads)
    began = time.monotonic()
    model = load_model(options.model)
    if model.config.n_way < _SHAPE.n_way or model.config.image_shape != (1, 28, 28):
        raise UserError(f"{options.model}: expected a model of {_SHAPE.n_way} ways or more and images (1, 28, 28)")
    rewrites = any(isinstance(part, SelfReferential) for part in model.modules())
    ours = options.model in packaged()
    origin = "none of these alphabets and typefaces" if ours else model.metadata.trained_on or "data that it does not name"
    print(f"the learner: {sum(p.numel() for p in model.parameters()):,} weights that stay as they are; in each episode it")
    print(f"reads five letters, one example each{', into a matrix that rewrites itself' if rewrites else ''}")
    letters = GlyphDrawer().draw("test", options.seed, instances=20)
    print(f"the test: {len(letters)} letters of Armenian and Georgian in typefaces of their own, drawn by pens of many widths,")
    print(f"bent and rotated; it was trained on {origin}. Which of the five is this?\n")
    features = embed_views(model, letters)
    accuracy = evaluate(model, letters, _SHAPE, options.episodes, options.seed, features)
    baselines = evaluate_baselines(model, letters, _SHAPE, options.episodes, options.seed, features)
    print(f"  {'chance':<42}{100 / _SHAPE.n_way:5.2f} %")
    for name, found in baselines.items():
        print(f"  {name:<42}{found}")
    print(f"  {'self-modifying network' if rewrites else 'network with a memory':<42}{accuracy}")
    print(f"  (95 % intervals over {accuracy.episodes:,} episodes of {_SHAPE.queries} queries, the same for all; features are")
    print("  those of the learner's own stem)")
    episode = draw_episodes(torch.from_numpy(letters.offsets), _SHAPE, 1, torch.Generator().manual_seed(options.seed))
    scripts = "scripts that it was never trained on" if ours else "Armenian and Georgian"
    title = f"Letters of {scripts}, one example each (test accuracy {accuracy}, chance 20 %)"
    trace = trace_episode(model, letters, episode)
    if trace is not None:
        draw_episode(trace, options.figure, title)
    picture = f"picture: {options.figure}" if trace is not None else "no picture: this model has no self-referential matrix"
    print(f"\n{picture} ({time.monotonic() - began:.0f} s in all)")
