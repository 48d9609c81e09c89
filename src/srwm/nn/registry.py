"""The cores by name."""

from srwm.nn.config import StackConfig
from srwm.nn.fake_srwm import FakeSRWM
from srwm.nn.fast_weights import DeltaNet, LinearTransformer
from srwm.nn.layer import Core
from srwm.nn.lstm import LSTM
from srwm.nn.no_memory import NoMemory
from srwm.nn.recurrent_delta import RecurrentDelta
from srwm.nn.sr_delta import SRDelta
from srwm.nn.srwm import SRWM

CORES: dict[str, type[Core]] = {
    "srwm": SRWM,
    "fake_srwm": FakeSRWM,
    "deltanet": DeltaNet,
    "linear_transformer": LinearTransformer,
    "sr_delta": SRDelta,
    "recurrent_delta": RecurrentDelta,
    "lstm": LSTM,
    "none": NoMemory,
}
"""Every core a configuration can name. A core of one's own is one more entry."""


def build_core(config: StackConfig) -> Core:
    """The core that the configuration names.

    Raises ValueError for an unknown name, and for an input width that this core in this style cannot take.
    """
    if config.core not in CORES:
        raise ValueError(f"core: expected one of {', '.join(CORES)}, got {config.core!r}")
    core = CORES[config.core]
    if config.d_input not in (None, config.d_model) and not (core.resizes and config.style == "plain"):
        wanted = f"d_model = {config.d_model} for core {config.core!r} in style {config.style!r}"
        raise ValueError(f"d_input: expected {wanted}, got {config.d_input}")
    return core.from_config(config)
