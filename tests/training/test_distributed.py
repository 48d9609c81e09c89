"""Joining other processes, and leaving them."""

import torch

from srwm.training.distributed import leave


def test_leaving_ends_the_group_and_may_be_repeated(tmp_path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    leave()
    assert not torch.distributed.is_initialized()
    leave()
