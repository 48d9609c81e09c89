import pytest
import torch
from torch.testing import assert_close

from srwm.nn import GRU


def test_gru_between_resets_is_the_gru_on_each_segment() -> None:
    layer = GRU(4, 3)
    x = torch.randn(2, 7, 3)
    resets = torch.zeros(2, 7, dtype=torch.bool)
    resets[0, 3] = resets[1, 5] = True
    y, h = layer(x, resets=resets)
    for b, cut in ((0, 3), (1, 5)):
        first, _ = layer.gru(x[b : b + 1, :cut])
        second, end = layer.gru(x[b : b + 1, cut:])
        assert_close(y[b], torch.cat([first, second], 1)[0])
        assert_close(h[b], end[0, 0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_gru_runs_in_smaller_dtypes(dtype: torch.dtype) -> None:
    layer, x = GRU(6), torch.randn(3, 4, 6)
    wanted, _ = layer(x)
    y, state = layer.to(dtype)(x.to(dtype))
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    assert (y.float() - wanted).norm() < 0.02 * wanted.norm()
