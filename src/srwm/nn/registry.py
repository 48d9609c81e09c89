"""The cores by name."""

from dataclasses import replace

from srwm.nn.config import StackConfig
from srwm.nn.delta_net import DeltaNet, GatedDeltaNet
from srwm.nn.delta_product import DeltaProduct
from srwm.nn.fake_srwm import FakeSRWM
from srwm.nn.fast_weights import LinearTransformer
from srwm.nn.gru import GRU
from srwm.nn.layer import Core
from srwm.nn.lstm import LSTM
from srwm.nn.no_memory import NoMemory
from srwm.nn.recurrent_delta import RecurrentDelta
from srwm.nn.self_modifying_memory import SelfModifyingMemory
from srwm.nn.sr_delta import SRDelta
from srwm.nn.srwm import SRWM
from srwm.nn.transformer import Transformer

CORES: dict[str, type[Core]] = {
    "srwm": SRWM,
    "fake_srwm": FakeSRWM,
    "deltanet": DeltaNet,
    "gated_deltanet": GatedDeltaNet,
    "deltaproduct": DeltaProduct,
    "linear_transformer": LinearTransformer,
    "sr_delta": SRDelta,
    "recurrent_delta": RecurrentDelta,
    "self_modifying_memory": SelfModifyingMemory,
    "transformer": Transformer,
    "lstm": LSTM,
    "gru": GRU,
    "none": NoMemory,
}
"""The cores that `StackConfig.core` can name."""


def build_core(config: StackConfig) -> Core:
    """Build the core that the configuration names, with its options.

    Args:
        config: the stack's configuration.

    Returns:
        The core.

    Raises:
        ValueError: there is no such core, it has no such option, or it cannot take this input width.
    """
    if config.core not in CORES:
        raise ValueError(f"core: expected one of {', '.join(CORES)}, got {config.core!r}")
    core = CORES[config.core]
    if config.d_input not in (None, config.d_model) and not (core.resizes and config.residual == "none"):
        wanted = f"d_model = {config.d_model} for core {config.core!r} with residual {config.residual!r}"
        raise ValueError(f"d_input: expected {wanted}, got {config.d_input}")
    return core.from_config(config)


def replace_core(config: StackConfig, core: str) -> StackConfig:
    """The configuration with another core. Options that both cores have are kept.

    Args:
        config: the configuration.
        core: a name in `CORES`.

    Returns:
        The configuration with that core.

    Raises:
        ValueError: there is no such core.
    """
    if core not in CORES:
        raise ValueError(f"core: expected one of {', '.join(CORES)}, got {core!r}")
    kept = {name: value for name, value in config.core_options.items() if name in CORES[core].default_options()}
    return replace(config, core=core, core_options=kept)
