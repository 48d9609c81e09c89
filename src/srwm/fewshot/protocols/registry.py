"""The protocols by name."""

from srwm.data import ImageClasses, Split
from srwm.errors import UserError
from srwm.fewshot.auxiliary import build_auxiliary
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.protocols.base import Protocol, Sets
from srwm.fewshot.protocols.bootstrap import Bootstrap
from srwm.fewshot.protocols.delayed import Delayed
from srwm.fewshot.protocols.sequential import Sequential
from srwm.fewshot.protocols.synchronous import Synchronous
from srwm.training.configuration import check_no_nan, check_seed, check_types

PROTOCOLS: dict[str, type[Protocol]] = {
    "synchronous": Synchronous,
    "delayed": Delayed,
    "sequential": Sequential,
    "bootstrap": Bootstrap,
}
"""Every protocol a configuration can name. A protocol of one's own is one more entry, and one more `ProtocolName`."""
STREAMS = ("delayed", "sequential")
"""Those without queries: their runs have learning curves, and a figure of adaptation of their own."""


def check_config(config: TrainConfig, splits: dict[Split, Sets]) -> None:
    """Raise UserError where the configuration does not fit itself or the data."""
    check_types(config)
    check_no_nan(config)
    protocol = PROTOCOLS[config.protocol]
    if len(splits["train"]) != protocol.num_sets:
        wanted = "the name of a second data set" if protocol.num_sets == 2 else "None"
        raise UserError(f"second_data: expected {wanted} with protocol {config.protocol!r}, got {config.second_data}")
    budget = {"steps": config.steps, "minutes": config.minutes, "cpu_minutes": config.cpu_minutes}
    if all(value is None for value in budget.values()):
        raise UserError("no end to training: give --steps, --minutes or --cpu-minutes")
    for name, value in {**budget, "patience": config.patience}.items():
        if value is not None and not value > 0:
            raise UserError(f"{name}: expected a number above 0, got {value}")
    counts = ("log_every", "validate_every", "episodes", "accumulate", "queries", "k_shot", "validation_queries")
    limits = ("degrees", "shear", "translate", "elastic", "stroke")
    numbers = (
        *((name, getattr(config, name), 1) for name in counts),
        ("validation_episodes", config.validation_episodes, 2),
        ("model.n_way", config.model.n_way, 2),
        ("pool.classes", config.pool.classes, 1),
        ("pool.images_per_class", config.pool.images_per_class, 1),
        *((f"augmentation.{name}", getattr(config.augmentation, name), 0) for name in limits),
    )
    for name, number, least in numbers:
        if not number >= least:
            raise UserError(f"{name}: expected {least} or more, got {number}")
    shares = {
        "augmentation.scale": config.augmentation.scale,
        "augmentation.color": config.augmentation.color,
        "ema_decay": config.ema_decay,
    }
    for name, share in shares.items():
        if share is not None and not 0 <= share < 1:
            raise UserError(f"{name}: expected a fraction from 0 up to, not with, 1, got {share}")
    check_seed(config.seed)
    if config.delayed.hint and config.protocol not in STREAMS:
        raise UserError(f"delayed.hint: expected 0, since only streams have hints, and the protocol is {config.protocol!r}")
    synchronous_alone = ("min_ways", "max_shots", "validation_ways")
    if config.protocol != "synchronous" and any(getattr(config, name) is not None for name in synchronous_alone):
        raise UserError(f"{', '.join(synchronous_alone)}: only the synchronous protocol has them")
    if config.model.head == "prototypes" and config.protocol in STREAMS:
        raise UserError(f"model: a prototypical network has no use for labels that come late (protocol {config.protocol!r})")
    if config.model.head == "prototypes" and config.model.stem == "none":
        raise UserError("model: a prototypical network without a stem has no weights to train")
    for data in splits["train"]:
        if tuple(config.model.image_shape) != data.image_shape:
            raise UserError(f"model.image_shape is {tuple(config.model.image_shape)}, the images are {data.image_shape}")
        if config.normalize != (data.normalization is not None):
            has = "has no" if data.normalization is None else "has a"
            raise UserError(f"normalize is {config.normalize}, and {data.name} {has} normalization (srwm.data.normalize)")
    try:
        build_auxiliary(config.auxiliary, num_features=1, num_classes=1)
    except ValueError as error:
        raise UserError(str(error)) from error
    protocol.check(config, splits)


def build_protocol(config: TrainConfig, train: Sets) -> Protocol:
    """The protocol that the configuration names, for these training classes. Raises UserError where the model does not fit."""
    return PROTOCOLS[config.protocol](config, config.pool.count(sum(map(len, train))))


def with_second(splits: dict[Split, ImageClasses], second: dict[Split, ImageClasses] | None) -> dict[Split, Sets]:
    """One data set, or two, of each split."""
    return {split: (data,) if second is None else (data, second[split]) for split, data in splits.items()}
