"""Training by several processes that `torchrun` started."""

import gc
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.wrappers import _FabricModule

from srwm.errors import UserError


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


def shutdown() -> None:
    """Destroy the process group, if there is one, and the threads that served it.

    Threads that are left to the interpreter's end may abort it. They live as long as any module that Fabric has set up: call
    this where there is none any more. What only waits to be collected is collected here.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def is_rank_zero() -> bool:
    """Whether this process is the only one, or the first of those that `torchrun` started."""
    return int(os.environ.get("RANK", "0")) == 0


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether this error says that another process of the group has ended."""
    return isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)


def local_batches(fabric: Fabric, batches: int) -> slice:
    """Which of a step's batches are this process's own. Raises UserError where they cannot be shared evenly."""
    if batches % fabric.world_size:
        raise UserError(
            f"accumulate: expected a multiple of {fabric.world_size}, the number of processes that share a step's batches, "
            f"got {batches}"
        )
    return slice(fabric.global_rank, None, fabric.world_size)


def no_sync(fabric: Fabric, module: _FabricModule, enabled: bool) -> AbstractContextManager[None]:
    """While it lasts, and if `enabled`, gradients are accumulated in each process and not averaged over the processes.

    It has to hold both the forward and the backward pass: in forward, DDP decides whether gradients will be averaged.
    """
    return fabric.no_backward_sync(module) if enabled and fabric.world_size > 1 else nullcontext()


def mean_over_processes(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """The mean of each value over all processes, the same in all of them."""
    if fabric.world_size == 1:
        return values
    mean = fabric.all_reduce(torch.tensor([*values.values()], dtype=torch.float64, device="cpu"), reduce_op="mean")
    assert isinstance(mean, torch.Tensor)
    return dict(zip(values, mean.tolist(), strict=True))


def all_reduce_budget(fabric: Fabric, spent: float, stopping: bool) -> tuple[float, bool]:
    """The largest share of the budget that any process has spent, and whether any was asked to stop."""
    if fabric.world_size == 1:
        return spent, stopping
    most = fabric.all_reduce(torch.tensor([spent, float(stopping)], dtype=torch.float64, device="cpu"), reduce_op="max")
    assert isinstance(most, torch.Tensor)
    return most[0].item(), bool(most[1])
