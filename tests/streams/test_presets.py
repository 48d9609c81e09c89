import pytest

from srwm.streams.config import TrainConfig
from srwm.streams.presets import CORES, PRESETS, with_core
from srwm.streams.training.loop import check_config


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_trained_with_every_core(preset: str, core: str) -> None:
    config = with_core(PRESETS[preset][1], core)
    check_config(config)
    assert config.model.stack.core == core
    in_parallel = core in ("deltanet", "gated_deltanet", "deltaproduct", "transformer")
    assert config.model.steps == ("query" if in_parallel else "interleaved")


def test_the_core_of_a_preset_keeps_its_options() -> None:
    assert with_core(TrainConfig(), "deltanet") == TrainConfig()
