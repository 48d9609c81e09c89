"""Checks of a checkpoint's unrolls before they are taken up."""

from typing import Any

import torch
from torch import Tensor

from srwm.rl.rollout import Unrolls
from srwm.rl.supply import Supply


def check_unrolls(state: dict[str, Any], supply: Supply, unroll_length: int) -> None:
    """Compare the tensors of a saved state with those that this supply makes.

    Args:
        state: what `Supply.get_state` returned.
        supply: the one that is to go on from it.
        unroll_length: steps of an unroll.

    Raises:
        ValueError: a tensor has another shape or kind of number, or an action does not exist.
        KeyError, TypeError: it is no such state.
    """
    actor = supply.actor
    core = actor.agent.core
    _check_like("core", state["actor"]["core"], core.initial_state(actor.env.num_envs))
    if state["waiting"] is None:
        return
    waiting = Unrolls(*state["waiting"])
    rows, spec = len(waiting.actions), actor.env.spec
    frames, steps = (rows, unroll_length + 1), (rows, unroll_length)
    template = Unrolls(
        observations=_empty(*frames, *spec.observation_shape, dtype=getattr(torch, spec.observation_dtype)),
        rewards=_empty(*frames),
        firsts=_empty(*frames, dtype=torch.bool),
        actions=_empty(*steps, dtype=torch.long),
        log_probs=_empty(*steps),
        values=_empty(*frames),
        state=core.initial_state(rows),
    )
    _check_like("waiting", waiting, template)
    if rows and not bool(((waiting.actions >= 0) & (waiting.actions < spec.num_actions)).all()):
        raise ValueError(f"waiting: expected actions from 0 below {spec.num_actions}")


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
