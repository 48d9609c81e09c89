"""Named configurations."""

from dataclasses import replace

from srwm.fewshot.augment import AffineConfig
from srwm.fewshot.auxiliary import AuxiliaryConfig
from srwm.fewshot.config import OptimizerConfig, PoolConfig, TrainConfig
from srwm.fewshot.model import ModelConfig
from srwm.nn import StackConfig

_PAPER_OMNIGLOT = TrainConfig(
    data="omniglot",
    model=ModelConfig(input="paper", stem_channels=64, stack=StackConfig(d_model=256, num_heads=16, num_layers=2, ff_factor=4)),
    queries=1,
    sampler="per-episode",
    episodes=128,
    optimizer=OptimizerConfig(lr=1e-3, beta1=0.9, beta2=0.995, eps=1e-9),
    steps=300_000,
    validate_every=1000,
)

_CPU_OMNIGLOT = TrainConfig(
    data="omniglot",
    model=ModelConfig(
        input="balanced",
        stem_channels=64,
        stack=StackConfig(d_model=256, num_heads=16, num_layers=2, ff_factor=4, query_init_std=0.01),
    ),
    queries=5,
    episodes=256,
    sampler="pooled",
    pool=PoolConfig(classes=60, images_per_class=6),
    distort=True,
    distortion=AffineConfig(degrees=15.0, scale=0.2, shear=0.2, shift=2.5 / 28),
    auxiliary=AuxiliaryConfig("neighbours", weight=0.5),
    precision="bfloat16",
    optimizer=OptimizerConfig(lr=1e-3, weight_decay=0.05),
    schedule="trapezoid",
    average_decay=0.998,
    minutes=30,
)

PRESETS: dict[str, tuple[str, TrainConfig]] = {
    "paper-omniglot-1shot": (
        "5-way 1-shot Omniglot as published (Irie et al., 2022): 300,000 steps, images of its own for every episode",
        _PAPER_OMNIGLOT,
    ),
    "cpu-omniglot-1shot": (
        "5-way 1-shot Omniglot for a desktop CPU: pooled episodes, bfloat16, balanced input, 30 minutes",
        _CPU_OMNIGLOT,
    ),
    "cpu-omniglot-1shot-prototypes": (
        "a prototypical network (Snell et al., 2017) with the stem, data and budget of cpu-omniglot-1shot",
        replace(_CPU_OMNIGLOT, model=replace(_CPU_OMNIGLOT.model, head="prototypes")),
    ),
}
