"""The rollout's part of a checkpoint: read from earlier versions, and checked before it is used."""

from typing import Any

import torch
from torch import Tensor

from srwm.rl.rollout import RolloutWorker, Unrolls


def rollout_state(process: dict[str, Any]) -> dict[str, Any]:
    """The state for `RolloutWorker.set_state` in one process's part of a checkpoint.

    Earlier versions called it supply and its queue waiting, and had no values of final observations: no episode was known to
    be truncated.
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
    """Compare the tensors of a saved state with those that this worker makes.

    Args:
        state: what `RolloutWorker.get_state` returned.
        rollout: the one that is to go on from it.
        unroll_length: steps of an unroll.

    Raises:
        ValueError: a tensor has another shape or kind of number, or an action does not exist.
        KeyError, TypeError: it is no such state.
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
        raise ValueError(f"queue: expected actions from 0 below {spec.num_actions}")


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
    """All floats count as one: cores keep their states in several."""
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
