"""`srwm demo`: something real in about a minute and without a download."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from srwm.data import UserError
from srwm.data.glyphs import load_glyphs
from srwm.fewshot.augment import AffineConfig
from srwm.fewshot.config import OptimizerConfig, PoolConfig, TrainConfig
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluate import evaluate, nearest_neighbour
from srwm.fewshot.model import ModelConfig
from srwm.fewshot.pictures import draw_episode
from srwm.fewshot.report import load_best
from srwm.fewshot.train import train
from srwm.nn import StackConfig

_TEST = EpisodeShape(n_way=5, k_shot=1, queries=10)
_DISTORTION = AffineConfig(degrees=15, scale=0.25, shear=0.3, shift=0.06)


@dataclass(frozen=True)
class DemoOptions:
    """Train a small self-modifying network on printed letters, then test it on scripts it never saw, one example a letter."""

    figure: Path = Path("srwm-demo.png")
    """where the picture goes"""
    steps: int = 700
    """steps of training"""
    minutes: float = 1.6
    """minutes of training after which it ends in any case"""
    test_episodes: int = 2000
    """episodes of the test"""
    seed: int = 0
    """seed of everything"""


def demo(arguments: Sequence[str]) -> None:
    """Train, test against two baselines, draw."""
    options = tyro.cli(DemoOptions, prog="srwm demo", args=list(arguments))
    if not options.figure.absolute().parent.is_dir():
        raise UserError(f"{options.figure}: there is no such folder")
    splits = load_glyphs(instances=8)
    unseen = splits["test"]
    print(f"training: {len(splits['train'])} classes, letters of Latin, Greek, Cyrillic..., drawn with many pens;")
    print(f"{options.steps} steps of 5-way 1-shot episodes, {options.minutes:g} min at most, {torch.get_num_threads()} threads")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        if not train(_config(options), splits, run):
            raise KeyboardInterrupt
        model = load_best(run)
    print(f"\ntest: {len(unseen)} letters of scripts it never saw, Armenian and Georgian; in each episode five of them are")
    print("shown once, then asked for in other fonts and hands, none of which it has seen")
    print("  chance                   20 %")
    print(f"  nearest pixels           {nearest_neighbour(unseen, _TEST, options.test_episodes, options.seed)}")
    accuracy = evaluate(model, unseen, _TEST, options.test_episodes, options.seed)
    print(f"  self-modifying network   {accuracy}  (95 % interval, {accuracy.episodes} episodes)")
    episode = draw_episodes(torch.from_numpy(unseen.offsets), _TEST, 1, torch.Generator().manual_seed(options.seed))
    title = f"One test episode: letters of scripts that it was never trained on (test accuracy {accuracy}, chance 20 %)"
    draw_episode(model, unseen, episode, options.figure, title)
    print(f"\npicture: {options.figure} ({time.monotonic() - began:.0f} s in all)")


def _config(options: DemoOptions) -> TrainConfig:
    stack = StackConfig(d_model=64, num_heads=4, num_layers=1, ff_factor=2)
    return TrainConfig(
        data="glyphs",
        model=ModelConfig(input="balanced", stem_channels=32, stack=stack),
        queries=10,
        episodes=128,
        pool=PoolConfig(classes=40, images_per_class=4),
        distort=True,
        distortion=_DISTORTION,
        optimizer=OptimizerConfig(lr=4e-3),
        schedule="trapezoid",
        average_decay=0.99,
        steps=options.steps,
        minutes=options.minutes,
        validate_every=200,
        validation_episodes=500,
        seed=options.seed,
    )
