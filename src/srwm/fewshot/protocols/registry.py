"""The protocols by name, and checks of whole configurations."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from srwm.data import ImageClasses, Split
from srwm.errors import UserError
from srwm.fewshot import protocols
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.protocols.base import PROTOCOLS, Protocol, Sets
from srwm.training.configuration import check_values
from srwm.training.runs import read_config_of

__all__ = ["PROTOCOLS", "build_protocol", "check_config", "protocol_of", "read_config", "with_second"]

for _module in iter_modules(protocols.__path__):  # every protocol adds itself to PROTOCOLS
    if _module.name != "registry":
        import_module(f"{protocols.__name__}.{_module.name}")


def protocol_of(config: TrainConfig) -> type[Protocol]:
    """The protocol of a configuration.

    Args:
        config: the configuration of the run.

    Returns:
        The class of the protocol.

    Raises:
        UserError: the protocol is unknown.
    """
    if config.protocol not in PROTOCOLS:
        raise UserError(f"protocol: expected {' or '.join(PROTOCOLS)}, got {config.protocol!r}")
    return PROTOCOLS[config.protocol]


def check_config(config: TrainConfig, splits: dict[Split, Sets]) -> None:
    """Check a configuration before training.

    Args:
        config: the configuration of the run.
        splits: one data set, or two, of each split.

    Raises:
        UserError: the configuration is inconsistent, or does not fit its protocol or the data.
    """
    check_values(config)
    protocol = protocol_of(config)
    if config.steps is None and config.minutes is None and config.cpu_minutes is None:
        raise UserError("no end to training: give --steps, --minutes or --cpu-minutes")
    _check_data(config, protocol, splits["train"])
    if type(config.protocol_options) is not protocol.Options:
        raise UserError(
            f"protocol_options: expected {protocol.Options.__name__} with protocol {config.protocol!r}, "
            f"got {config.protocol_options}"
        )
    _check_traits(config, protocol)
    protocol.check(config, splits)


def _check_traits(config: TrainConfig, protocol: type[Protocol]) -> None:
    of_variable_episodes = ("min_ways", "max_shots", "validation_ways")
    if not protocol.variable_episodes and any(getattr(config, name) is not None for name in of_variable_episodes):
        able = " and ".join(name for name, each in PROTOCOLS.items() if each.variable_episodes)
        raise UserError(f"{', '.join(of_variable_episodes)}: only the {able} protocol has them")
    if config.model.head == "prototypes" and not protocol.supports_prototypes:
        raise UserError(f"model: a prototypical network does not fit the protocol {config.protocol!r}, which needs a memory")
    if config.model.head == "prototypes" and config.model.stem == "none":
        raise UserError("model: a prototypical network without a stem has no weights to train")


def _check_data(config: TrainConfig, protocol: type[Protocol], train: Sets) -> None:
    if len(train) != protocol.num_sets:
        expected = "the name of a second data set" if protocol.num_sets == 2 else "None"
        raise UserError(f"second_data: expected {expected} with protocol {config.protocol!r}, got {config.second_data}")
    for data in train:
        if tuple(config.model.image_shape) != data.image_shape:
            raise UserError(f"model.image_shape is {tuple(config.model.image_shape)}, the images are {data.image_shape}")
        if config.normalize != (data.normalization is not None):
            has = "has no" if data.normalization is None else "has a"
            raise UserError(f"normalize is {config.normalize}, and {data.name} {has} normalization (srwm.data.normalize)")


def read_config(folder: Path) -> TrainConfig:
    """Read the configuration of a few-shot run.

    Args:
        folder: the run folder.

    Returns:
        The configuration.

    Raises:
        UserError: the folder is not a few-shot run.
    """
    return read_config_of(folder, TrainConfig)


def build_protocol(config: TrainConfig, train: Sets) -> Protocol:
    """Build the protocol of a configuration, with its model.

    Args:
        config: the configuration of the run.
        train: the training classes.

    Returns:
        The protocol.

    Raises:
        UserError: the configuration of the model is inconsistent.
    """
    return protocol_of(config)(config, config.pool.count(sum(map(len, train))))


def with_second(splits: dict[Split, ImageClasses], second: dict[Split, ImageClasses] | None) -> dict[Split, Sets]:
    """Combine one or two data sets by split.

    Args:
        splits: a data set by split.
        second: another one, or None.

    Returns:
        One or two data sets for each split.
    """
    return {split: (data,) if second is None else (data, second[split]) for split, data in splits.items()}
