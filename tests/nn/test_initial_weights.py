"""Equal seeds give equal weights from version to version."""

import pytest
import torch

from srwm.nn import CORES, Stack, StackConfig

FINGERPRINTS = {
    "srwm": (736, -37.111768, 766081950),
    "fake_srwm": (544, 42.248050, 1061198247),
    "deltanet": (896, 50.749962, 1615880863),
    "gated_deltanet": (932, 52.236130, 1520161219),
    "deltaproduct": (1184, 49.395256, 1410051980),
    "linear_transformer": (864, 48.588049, 155797952),
    "sr_delta": (880, -23.142719, 1318653047),
    "recurrent_delta": (1104, 40.893013, 1244577912),
    "self_modifying_memory": (832, 60.833588, 677025449),
    "transformer": (864, 48.588049, 155797952),
    "lstm": (1504, 47.545599, 1667819992),
    "gru": (1216, 44.636736, 344056550),
    "none": (352, 33.717519, 159010501),
}
"""For each core: the number of weights, their sum with weights from 1 to 2 by position, and the next random number."""


@pytest.mark.parametrize("core", FINGERPRINTS)
def test_a_seed_gives_the_weights_that_it_gave(core: str) -> None:
    torch.manual_seed(0)
    options = {"beta_init": -1.0, "query_init_std": 0.5} if "beta_init" in CORES[core].default_options() else {}
    stack = Stack(StackConfig(core=core, d_model=8, num_heads=2, num_layers=2, ff_factor=1, core_options=options))
    weights = torch.cat([parameter.detach().double().flatten() for parameter in stack.parameters()])
    by_position = weights @ torch.linspace(1, 2, len(weights), dtype=torch.float64)
    size, total, number = FINGERPRINTS[core]
    assert (len(weights), int(torch.randint(2**31, ()))) == (size, number)
    assert by_position.item() == pytest.approx(total, abs=1e-4)
