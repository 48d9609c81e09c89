import pytest
import torch

from srwm.fewshot.episodes import Episodes
from srwm.fewshot.evaluation.written import column_shares, written_by_block
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import StackConfig


def test_shares_of_blocks_of_columns():
    change = torch.zeros(3, 2, 3 + 2 + 2 + 4)
    change[0, 0, 2], change[1, 1, 3], change[2, 0, 5], change[0, 1, 10] = 1, 2, 3, 4
    assert column_shares(change) == pytest.approx({"y": 1 / 30, "q": 4 / 30, "k": 9 / 30, "beta": 16 / 30})
    assert column_shares(torch.zeros(2, 11)) == dict.fromkeys(("y", "q", "k", "beta"), 0)


@pytest.mark.parametrize("core", ["srwm", "sr_delta", "lstm"])
def test_what_each_block_has_written(core):
    torch.manual_seed(0)
    stack = StackConfig(core, d_model=8, num_heads=2, num_layers=2, ff_factor=1)
    model = FewShotModel(ModelConfig((4,), 3, stem="none", stack=stack)).eval()
    episodes = Episodes(*(torch.tensor([[0, 1, 2]]) for _ in range(4)))
    found = written_by_block(model, torch.randn(3, 4), episodes)
    assert [each.block for each in found] == ([] if core == "lstm" else [1, 2])
    for each in found:
        assert sum(each.shares.values()) == pytest.approx(1)
        assert each.change > 0
