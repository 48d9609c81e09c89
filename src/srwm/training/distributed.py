"""Training with several processes that `torchrun` started."""

import gc
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.wrappers import _FabricModule

from srwm.errors import UserError


def build_fabric(accelerator: str) -> Fabric:
    """The processes and devices of a run: one process with one device, or under `torchrun` all processes with one device each.

    Processes communicate over gloo on CPUs, NCCL on CUDA.

    Args:
        accelerator: cpu, cuda, mps or auto.

    Returns:
        The Fabric object, launched.

    Raises:
        UserError: the accelerator is not available.
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
    """Destroy the process group, if there is one, and its threads.

    Threads that are left when the interpreter exits may abort it. They live as long as any module that Fabric has set up, so
    call this when no such module is in use any more; garbage is collected here.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def is_rank_zero() -> bool:
    """Whether this process has rank 0, which is also the rank of the only process.

    Returns:
        True for rank 0.
    """
    return int(os.environ.get("RANK", "0")) == 0


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether an error means that another process of the group has ended.

    Args:
        error: the error of a collective operation.

    Returns:
        True if it does.
    """
    return isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)


def local_batches(fabric: Fabric, batches: int) -> slice:
    """The batches of a step that this process computes.

    Args:
        fabric: the processes.
        batches: number of batches per step.

    Returns:
        A slice of the batches.

    Raises:
        UserError: the batches cannot be divided evenly among the processes.
    """
    if batches % fabric.world_size:
        raise UserError(
            f"accumulate: expected a multiple of {fabric.world_size}, the number of processes that share a step's batches, "
            f"got {batches}"
        )
    return slice(fabric.global_rank, None, fabric.world_size)


def no_sync(fabric: Fabric, module: _FabricModule, enabled: bool) -> AbstractContextManager[None]:
    """A context in which gradients are accumulated in each process and not averaged over processes.

    It must enclose both the forward and the backward pass: DDP decides in the forward pass whether gradients will be averaged.

    Args:
        fabric: the processes.
        module: the module that Fabric has set up.
        enabled: False: gradients are averaged as usual.

    Returns:
        The context.
    """
    return fabric.no_backward_sync(module) if enabled and fabric.world_size > 1 else nullcontext()


def mean_over_processes(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """The mean of each value over all processes, the same in all of them.

    Args:
        fabric: the processes.
        values: the values of this process by name.

    Returns:
        The means by name.
    """
    if fabric.world_size == 1:
        return values
    mean = fabric.all_reduce(torch.tensor([*values.values()], dtype=torch.float64, device="cpu"), reduce_op="mean")
    assert isinstance(mean, torch.Tensor)
    return dict(zip(values, mean.tolist(), strict=True))


def all_reduce_budget(fabric: Fabric, spent: float, stopping: bool) -> tuple[float, bool]:
    """The state of the budget over all processes.

    Args:
        fabric: the processes.
        spent: the fraction of the budget that this process has spent.
        stopping: whether this process was requested to stop.

    Returns:
        The largest fraction that any process has spent, and whether any process was requested to stop.
    """
    if fabric.world_size == 1:
        return spent, stopping
    most = fabric.all_reduce(torch.tensor([spent, float(stopping)], dtype=torch.float64, device="cpu"), reduce_op="max")
    assert isinstance(most, torch.Tensor)
    return most[0].item(), bool(most[1])
