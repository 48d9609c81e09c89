"""Training by several processes: what `torchrun` started, as one Fabric."""

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from srwm.data import UserError


def build_fabric(accelerator: str) -> Fabric:
    """One process with one device; under `torchrun`, all of its processes with one device each, joined.

    Processes meet over gloo on CPUs, NCCL on CUDA. Raises UserError for an accelerator that there is not.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        if processes == 1:
            return Fabric(accelerator=accelerator, devices=1)
        on_node = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
        fabric = Fabric(accelerator=accelerator, strategy=DDPStrategy(), devices=on_node, num_nodes=processes // on_node)
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"accelerator: {error}") from error
    return fabric


def share(fabric: Fabric, batches: int) -> list[bool]:
    """Which of a step's batches are this process's own. Raises UserError where they cannot be shared out evenly."""
    processes = fabric.world_size
    if batches % processes:
        raise UserError(f"accumulate: expected a multiple of the {processes} processes, which share the batches, got {batches}")
    return [number % processes == fabric.global_rank for number in range(batches)]


def mean_over_processes(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """The mean of each value over all processes, the same in all of them."""
    if fabric.world_size == 1:
        return values
    mean = fabric.all_reduce(torch.tensor([*values.values()], dtype=torch.float64), reduce_op="mean")
    return dict(zip(values, mean.tolist(), strict=True))
