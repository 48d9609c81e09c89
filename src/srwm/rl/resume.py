"""The rollout's part of a checkpoint: conversion from earlier versions, and checks before it is used."""

from typing import Any

import torch
from torch import Tensor

from srwm.rl.rollout import RolloutWorker, Unrolls


def rollout_state(process: dict[str, Any]) -> dict[str, Any]:
    """The state for `RolloutWorker.set_state` from one process's part of a checkpoint.

    In earlier versions it was called `supply`, its queue `waiting`, and it had no values of final observations, since
    truncation was not known.

    Args:
        process: the part of the checkpoint.

    Returns:
        The state.
    """
    if "rollout" in process:
        state: dict[str, Any] = process["rollout"]
        return state
    state = process["supply"]
    waiting = state["waiting"]
    if waiting is not None:
        *head, core = waiting
        waiting = (*head, torch.zeros_like(head[4]), core)
    return {"actor": state["actor"], "queue": waiting}


def check_unrolls(state: dict[str, Any], rollout: RolloutWorker, unroll_length: int) -> None:
    """Check the tensors of a saved state.

    Args:
        state: what `RolloutWorker.get_state` returned.
        rollout: the worker that is to continue from it.
        unroll_length: steps per unroll.

    Raises:
        ValueError: a tensor has another shape or dtype, or an action does not exist.
        KeyError, TypeError: the state is malformed.
    """
    actor = rollout.actor
    core = actor.agent.core
    _check_like("core", state["actor"]["core"], core.initial_state(actor.env.num_envs))
    if state["queue"] is None:
        return
    queue = Unrolls(*state["queue"])
    rows, spec = len(queue.actions), actor.env.spec
    frames, steps = (rows, unroll_length + 1), (rows, unroll_length)
    template = Unrolls(
        observations=_empty(*frames, *spec.observation_shape, dtype=getattr(torch, spec.observation_dtype)),
        rewards=_empty(*frames),
        firsts=_empty(*frames, dtype=torch.bool),
        actions=_empty(*steps, dtype=torch.long),
        log_probs=_empty(*steps),
        values=_empty(*frames),
        final_values=_empty(*steps),
        state=core.initial_state(rows),
    )
    _check_like("queue", queue, template)
    if rows and not bool(((queue.actions >= 0) & (queue.actions < spec.num_actions)).all()):
        raise ValueError(f"queue: expected actions from 0 to {spec.num_actions - 1}")


def _empty(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(size, dtype=dtype, device="meta")


def _check_like(name: str, given: Any, template: Any) -> None:
    if not isinstance(template, Tensor):
        if not isinstance(given, tuple | list):
            raise TypeError(f"{name}: expected {len(template)} parts, got {type(given).__name__}")
        for part, like in zip(given, template, strict=True):
            _check_like(name, part, like)
    elif not isinstance(given, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(given).__name__}")
    elif given.shape != template.shape or _kind(given) != _kind(template):
        wanted = f"{tuple(template.shape)} {template.dtype}"
        raise ValueError(f"{name}: expected {wanted}, got {tuple(given.shape)} {given.dtype}")


def _kind(tensor: Tensor) -> torch.dtype:
    """The dtype, with one representative for all floating dtypes, since states of cores use several."""
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
