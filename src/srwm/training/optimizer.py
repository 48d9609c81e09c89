"""Adam from a configuration, checks of loss and gradient, and the state of an optimizer, checked before it is loaded."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srwm.errors import UserError
from srwm.ranges import Above, AtLeast, Finite

_SUGGESTION = "try a smaller --optimizer.lr in another --run"


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, or AdamW where there is weight decay."""

    lr: Annotated[float, Above(0), Finite()] = 1e-3
    """learning rate, or the factor of the `paper-warmup` schedule"""
    beta1: float = 0.9
    """Adam's decay of the mean gradient"""
    beta2: float = 0.999
    """Adam's decay of the mean squared gradient"""
    eps: float = 1e-8
    """Adam's epsilon, added to the root of the mean squared gradient"""
    weight_decay: Annotated[float, AtLeast(0), Finite()] = 0.0
    """decoupled weight decay, applied to matrices and convolutions only"""
    clip_norm: Annotated[float, Above(0), Finite()] | None = None
    """gradients are clipped to this norm; None: no clipping"""


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Build Adam with decoupled weight decay on matrices and convolutions, not on biases, norms and other vectors.

    Args:
        model: the module to train.
        config: the configuration of the optimizer.

    Returns:
        The optimizer.

    Raises:
        UserError: a number is out of its range.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    try:
        return torch.optim.AdamW(groups, lr=config.lr, betas=betas, eps=config.eps, fused=True)
    except ValueError as error:
        raise UserError(f"optimizer: {error}") from error


def check_loss(loss: Tensor, step: int) -> None:
    """Check that a loss is finite.

    Args:
        loss: a scalar.
        step: the number of the optimizer step, for the message.

    Raises:
        UserError: it is NaN or infinite.
    """
    if not math.isfinite(loss.item()):
        raise UserError(f"the loss is not finite at step {step}; {_SUGGESTION}")


def clip_gradient(module: nn.Module, clip_norm: float | None, step: int) -> None:
    """Clip the gradient of all parameters of a module to a norm.

    Args:
        module: the module, after the backward pass.
        clip_norm: the largest norm; None: no clipping.
        step: the number of the optimizer step, for the message.

    Raises:
        UserError: the norm of the gradient is NaN or infinite.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    if not norm.isfinite():
        raise UserError(f"the norm of the gradient is not finite at step {step}; {_SUGGESTION}")
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(module.parameters(), clip_norm, norm)


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a `state_dict` into an optimizer after checking it, since fused kernels check no sizes.

    Args:
        optimizer: one with the same parameters, or its wrapper by Fabric.
        state: what `optimizer.state_dict()` returned.

    Raises:
        ValueError: the groups, their settings, or the names, shapes or dtypes of the tensors are not those of this optimizer.
        KeyError, TypeError, AttributeError: it is not the state of an optimizer.
    """
    inner: Optimizer = getattr(optimizer, "optimizer", optimizer)
    current = inner.state_dict()
    if len(state["param_groups"]) != len(current["param_groups"]):
        raise ValueError(f"optimizer: expected {len(current['param_groups'])} groups, got {len(state['param_groups'])}")
    for given, own in zip(state["param_groups"], current["param_groups"], strict=True):
        _check_group(given, own)
    parameters = [parameter for group in inner.param_groups for parameter in group["params"]]
    names = _state_names(inner)
    tensors = {}
    for index, values in state["state"].items():
        if not (type(index) is int and 0 <= index < len(parameters)):
            raise ValueError(f"optimizer: no parameter {index!r}")
        tensors[index] = _checked(index, values, parameters[index], names)
    inner.load_state_dict({"state": tensors, "param_groups": state["param_groups"]})


def _check_group(given: dict[str, Any], own: dict[str, Any]) -> None:
    if given.keys() != own.keys() or given["params"] != own["params"]:
        raise ValueError("optimizer: a group has other parameters or settings")
    for name, value in own.items():
        if not _alike(given[name], value):
            raise ValueError(f"optimizer: {name}: expected a setting like {value!r}, got {given[name]!r}")


def _alike(given: object, own: object) -> bool:
    if isinstance(own, list | tuple):
        return isinstance(given, list | tuple) and len(given) == len(own) and all(map(_alike, given, own))
    if isinstance(own, int | float) and not isinstance(own, bool):
        return isinstance(given, int | float) and not isinstance(given, bool)
    return type(given) is type(own)


def _state_names(optimizer: Optimizer) -> dict[str, bool]:
    """Names of the tensors that this optimizer keeps per parameter, and whether each has the parameter's shape."""
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float32, device="cpu"))
    parameter.grad = torch.zeros(2, dtype=torch.float32, device="cpu")
    probe = type(optimizer).__new__(type(optimizer))
    Optimizer.__init__(probe, [parameter], dict(optimizer.defaults))
    probe.step()
    return {name: tensor.shape == parameter.shape for name, tensor in probe.state[parameter].items()}


def _checked(index: int, values: dict[str, Any], parameter: Tensor, names: dict[str, bool]) -> dict[str, Tensor]:
    if values.keys() != names.keys():
        raise ValueError(f"optimizer: parameter {index}: expected {', '.join(names)}, got {', '.join(map(str, values))}")
    checked = {}
    for name, value in values.items():
        shape, dtype = (parameter.shape, parameter.dtype) if names[name] else (torch.Size(), torch.float32)
        if not isinstance(value, Tensor) or value.layout != torch.strided or (value.shape, value.dtype) != (shape, dtype):
            got = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else repr(value)
            raise ValueError(f"optimizer: {name} of parameter {index}: expected {tuple(shape)} {dtype}, got {got}")
        own = torch.empty_like(parameter, device="cpu") if names[name] else torch.empty_like(value)
        checked[name] = own.detach().copy_(value)
    return checked
