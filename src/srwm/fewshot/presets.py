"""Named configurations: `paper-...` with the published values, `cpu-...` for a desktop CPU."""

from dataclasses import replace

from srwm.fewshot.augment import AugmentationConfig
from srwm.fewshot.auxiliary import AuxiliaryConfig
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import PoolConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.protocols.bootstrap import BootstrapConfig
from srwm.fewshot.protocols.delayed import DelayedConfig
from srwm.fewshot.protocols.sequential import SequentialConfig
from srwm.nn import StackConfig
from srwm.training.optimizer import OptimizerConfig
from srwm.vision import DropoutType

_PHOTOGRAPHS = {"mini-imagenet": (3, 84, 84), "fc100": (3, 32, 32), "cifar-fs": (3, 32, 32)}

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


def _paper(
    data: str,
    k_shot: int,
    core: str,
    *,
    layers: int,
    ff: int,
    dropout: tuple[float, float],
    lr: float | None,
    steps: int = 600_000,
    resnet12: DropoutType | None = None,
) -> TrainConfig:
    """A row of the paper's table of settings: dropout of the stack and of the stem; lr None is the warm-up schedule."""
    model = ModelConfig(
        image_shape=_PHOTOGRAPHS[data],
        stem="conv4" if resnet12 is None else "resnet12",
        stem_channels=32 if resnet12 is None else (64, 96, 128, 256),
        stem_dropout=dropout[1],
        stem_dropout_type=resnet12 or "base",
        input="paper",
        stack=StackConfig(core, d_model=256, num_heads=16, num_layers=layers, ff_factor=ff, dropout=dropout[0]),
    )
    if core == "lstm":
        stack = StackConfig("lstm", d_model=1024, num_layers=1, ff_factor=0, residual="none")
        model = replace(model, input_projection=False, stack=stack)
    return replace(
        _PAPER_OMNIGLOT,
        data=data,
        model=model,
        k_shot=k_shot,
        episodes=16,
        optimizer=replace(_PAPER_OMNIGLOT.optimizer, lr=1.0 if lr is None else lr),
        schedule="paper-warmup" if lr is None else "constant",
        steps=steps,
    )


def _paper_sequential(core: str) -> TrainConfig:
    stack = StackConfig(core, d_model=256, num_heads=16, num_layers=3, ff_factor=1)
    return replace(
        _PAPER_OMNIGLOT,
        protocol="sequential",
        second_data="mini-imagenet",
        protocol_options=SequentialConfig(trim=60),
        model=ModelConfig(image_shape=(3, 84, 84), stem_channels=32, input="paper", stack=stack),
        k_shot=15,
        episodes=16,
        accumulate=2,
        normalize=True,
        optimizer=replace(_PAPER_OMNIGLOT.optimizer, lr=3e-4),
        steps=500_000,
        validation_episodes=500,
    )


_CPU_OMNIGLOT = TrainConfig(
    data="omniglot",
    model=ModelConfig(
        input="balanced",
        stem_channels=64,
        stack=StackConfig(d_model=256, num_heads=16, num_layers=2, ff_factor=4, core_options={"query_init_std": 0.01}),
    ),
    queries=5,
    episodes=256,
    sampler="pooled",
    pool=PoolConfig(classes=60, images_per_class=6),
    augment=True,
    augmentation=AugmentationConfig(degrees=15.0, scale=0.2, shear=0.2, translate=2.5 / 28),
    auxiliary=AuxiliaryConfig("neighbors", weight=0.5),
    precision="bfloat16",
    optimizer=OptimizerConfig(lr=1e-3, weight_decay=0.05),
    schedule="trapezoid",
    ema_decay=0.998,
    minutes=30,
)

_CPU_CHARACTERS = replace(
    _CPU_OMNIGLOT,
    data="omniglot+glyphs",
    model=replace(_CPU_OMNIGLOT.model, n_way=20),
    min_ways=2,
    max_shots=3,
    queries=10,
    episodes=128,
    pool=PoolConfig(classes=60, images_per_class=8),
    augmentation=AugmentationConfig(degrees=12.0, scale=0.1, shear=0.2, translate=1 / 28, elastic=0.02, stroke=0.6),
    minutes=60,
    validation_ways=5,
)

# A stem by class means alone, which takes less time than through a memory. The memory that `srwm fewshot heads` then trains on
# its features has wide heads, and labels in places of their own.
_CPU_CHARACTERS_STEM = replace(
    _CPU_CHARACTERS,
    model=replace(
        _CPU_CHARACTERS.model,
        stem_channels=(32, 64, 128, 256),
        input="codes",
        stack=replace(_CPU_CHARACTERS.model.stack, num_heads=4),
        head="prototypes",
        class_means="learned",
    ),
    augmentation=replace(_CPU_CHARACTERS.augmentation, degrees=16.0),
    min_ways=5,
    queries=20,
    episodes=64,
    pool=PoolConfig(classes=90, images_per_class=8),
    auxiliary=AuxiliaryConfig("neighbors", weight=1.0),
    optimizer=OptimizerConfig(lr=1.5e-3, weight_decay=0.05),
    minutes=None,
    cpu_minutes=45,
    validate_every=250,
    validation_ways=20,
)

_PHOTO_DISTORTION = AugmentationConfig(
    degrees=10.0, scale=0.2, shear=0.1, translate=0.1, color=0.2, hflip=True, outside="reflection"
)

_CPU_MINI_IMAGENET = replace(
    _CPU_OMNIGLOT,
    data="mini-imagenet",
    model=replace(
        _CPU_OMNIGLOT.model,
        image_shape=(3, 84, 84),
        stem_channels=32,
        stem_dropout=0.1,
        stack=replace(_CPU_OMNIGLOT.model.stack, dropout=0.1),
    ),
    pool=PoolConfig(classes=40, images_per_class=6, rotated=0.25),
    augmentation=_PHOTO_DISTORTION,
    auxiliary=AuxiliaryConfig("classes", weight=0.5),
    optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.5),
    ema_decay=0.999,
    validate_every=500,
    minutes=60,
)

_CPU_CIFARFS = replace(
    _CPU_MINI_IMAGENET,
    data="cifar-fs",
    model=replace(_CPU_MINI_IMAGENET.model, image_shape=(3, 32, 32), stem_channels=64),
    optimizer=OptimizerConfig(lr=5e-4, weight_decay=0.05),
    pool=PoolConfig(classes=40, images_per_class=8),
)

_CPU_DELAYED = replace(
    _CPU_OMNIGLOT,
    protocol="delayed",
    protocol_options=DelayedConfig(hint=0.5),
    model=replace(
        _CPU_OMNIGLOT.model,
        stack=StackConfig(d_model=128, num_heads=8, num_layers=2, ff_factor=2, core_options={"query_init_std": 0.01}),
    ),
    k_shot=15,
    episodes=16,
    pool=PoolConfig(classes=10, images_per_class=15),
    optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.05),
    validation_episodes=500,
)

_CPU_SEQUENTIAL = replace(
    _CPU_DELAYED,
    protocol="sequential",
    second_data="mini-imagenet",
    protocol_options=SequentialConfig(hint=0.5, trim=60),
    model=replace(_CPU_DELAYED.model, image_shape=(3, 32, 32), stem_channels=32),
    augmentation=AugmentationConfig(outside="reflection"),
    validation_episodes=200,
)

_CPU_BOOTSTRAP = replace(
    _CPU_OMNIGLOT,
    protocol="bootstrap",
    protocol_options=BootstrapConfig(future=10),
    # the same share as in plain training, where the only cross-entropy has weight 1; here the weights are 1 and 10
    auxiliary=replace(_CPU_OMNIGLOT.auxiliary, weight=11 * _CPU_OMNIGLOT.auxiliary.weight),
)

PRESETS: dict[str, tuple[str, TrainConfig]] = {
    "paper-omniglot-1shot": (
        "5-way 1-shot Omniglot as published (Irie et al., 2022): 300,000 steps, separate images for every episode",
        _PAPER_OMNIGLOT,
    ),
    "cpu-characters": (
        "2- to 20-way, 1- to 3-shot, drawn and printed characters (Omniglot and glyphs) for a desktop CPU, 60 minutes",
        _CPU_CHARACTERS,
    ),
    "cpu-characters-stem": (
        "drawn and printed characters by class means: the stem of the bundled checkpoint, 45 minutes of one thread",
        _CPU_CHARACTERS_STEM,
    ),
    "paper-mini-imagenet-1shot": (
        "5-way 1-shot Mini-ImageNet as published: Conv-4, 3 layers, 600,000 steps",
        _paper("mini-imagenet", 1, "srwm", layers=3, ff=4, dropout=(0.1, 0.1), lr=None),
    ),
    "paper-mini-imagenet-5shot": (
        "5-way 5-shot Mini-ImageNet as published: Conv-4, 3 layers, 600,000 steps",
        _paper("mini-imagenet", 5, "srwm", layers=3, ff=8, dropout=(0.1, 0.1), lr=None),
    ),
    "paper-mini-imagenet-1shot-deltanet": (
        "the paper's DeltaNet baseline: 4 layers, 600,000 steps",
        _paper("mini-imagenet", 1, "deltanet", layers=4, ff=8, dropout=(0.1, 0.3), lr=1e-4),
    ),
    "paper-mini-imagenet-5shot-deltanet": (
        "the paper's DeltaNet baseline: 4 layers, 600,000 steps",
        _paper("mini-imagenet", 5, "deltanet", layers=4, ff=8, dropout=(0.0, 0.2), lr=3e-4),
    ),
    "paper-mini-imagenet-1shot-lstm": (
        "the paper's LSTM baseline: 1,024 units, 1,200,000 steps",
        _paper("mini-imagenet", 1, "lstm", layers=1, ff=0, dropout=(0.0, 0.1), lr=3e-4, steps=1_200_000),
    ),
    "paper-mini-imagenet-5shot-lstm": (
        "the paper's LSTM baseline: 1,024 units, 1,200,000 steps",
        _paper("mini-imagenet", 5, "lstm", layers=1, ff=0, dropout=(0.0, 0.1), lr=3e-4, steps=1_200_000),
    ),
    "paper-fc100-5shot": (
        "5-way 5-shot FC100 as published: Conv-4, 3 layers, 600,000 steps",
        _paper("fc100", 5, "srwm", layers=3, ff=4, dropout=(0.1, 0.1), lr=None),
    ),
    "paper-fc100-5shot-resnet12": (
        "5-way 5-shot FC100 as published: ResNet-12, 3 layers, 600,000 steps",
        _paper("fc100", 5, "srwm", layers=3, ff=4, dropout=(0.3, 0.3), lr=None, resnet12="2d_in_block"),
    ),
    "paper-fc100-5shot-deltanet": (
        "the paper's DeltaNet baseline: 3 layers, 600,000 steps",
        _paper("fc100", 5, "deltanet", layers=3, ff=8, dropout=(0.0, 0.2), lr=None),
    ),
    "paper-sequential-omniglot-mini-imagenet": (
        "one sequence of Omniglot and Mini-ImageNet with delayed labels, as published: 500,000 steps",
        _paper_sequential("srwm"),
    ),
    "paper-sequential-omniglot-mini-imagenet-deltanet": (
        "the paper's DeltaNet baseline of the sequential task",
        _paper_sequential("deltanet"),
    ),
    "paper-bootstrap-omniglot-1shot": (
        "bootstrapped training with the published weights of its losses, 1 / 10 / 1, on the model of paper-omniglot-1shot",
        replace(_PAPER_OMNIGLOT, protocol="bootstrap", protocol_options=BootstrapConfig(future=10)),
    ),
    "cpu-omniglot-1shot": (
        "5-way 1-shot Omniglot for a desktop CPU: pooled episodes, bfloat16, balanced input, 30 minutes",
        _CPU_OMNIGLOT,
    ),
    "cpu-mini-imagenet-1shot": ("5-way 1-shot Mini-ImageNet for a desktop CPU, 60 minutes", _CPU_MINI_IMAGENET),
    "cpu-mini-imagenet-5shot": (
        "5-way 5-shot Mini-ImageNet for a desktop CPU, 60 minutes",
        replace(_CPU_MINI_IMAGENET, k_shot=5, pool=PoolConfig(classes=30, images_per_class=10, rotated=0.25)),
    ),
    "cpu-fc100-5shot": (
        "5-way 5-shot FC100 for a desktop CPU, 60 minutes",
        replace(_CPU_CIFARFS, data="fc100", k_shot=5, pool=PoolConfig(classes=40, images_per_class=10)),
    ),
    "cpu-cifarfs-1shot": ("5-way 1-shot CIFAR-FS for a desktop CPU, 60 minutes", _CPU_CIFARFS),
    "cpu-omniglot-delayed": ("5-way streams of Omniglot with delayed labels for a desktop CPU, 30 minutes", _CPU_DELAYED),
    "cpu-sequential-omniglot-mini-imagenet": (
        "one sequence of Omniglot and Mini-ImageNet at 32x32 with delayed labels, 30 minutes",
        _CPU_SEQUENTIAL,
    ),
    "cpu-bootstrap-omniglot": (
        "cpu-omniglot-1shot with bootstrapped training: the target is the model after 10 more examples",
        _CPU_BOOTSTRAP,
    ),
    "cpu-omniglot-1shot-prototypes": (
        "a prototypical network (Snell et al., 2017) with the stem, data and budget of cpu-omniglot-1shot",
        replace(_CPU_OMNIGLOT, model=replace(_CPU_OMNIGLOT.model, head="prototypes")),
    ),
}
