"""The state of an optimizer is loaded where it is that of its parameters, and refused otherwise."""

import copy

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from srwm.training.optimizer import load_optimizer

KINDS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, fused=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=1e-2),
}


def trained(kind, steps=3, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 4)).to(memory_format=torch.channels_last)
    optimizer = KINDS[kind](model.parameters())
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    optimizer.zero_grad()
    x = torch.linspace(-1, 1, 50).view(1, 2, 5, 5).contiguous(memory_format=torch.channels_last)
    model(x).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_training_continues_bit_by_bit(tmp_path, kind, wrapped):
    model, optimizer = trained(kind)
    torch.save(optimizer.state_dict(), tmp_path / "state")
    other = KINDS[kind](copy.deepcopy(model).parameters())
    second = copy.deepcopy(model)
    other = KINDS[kind](second.parameters())
    target = Fabric(accelerator="cpu", devices=1).setup_optimizers(other) if wrapped else other
    load_optimizer(target, torch.load(tmp_path / "state", weights_only=True))
    for _ in range(2):
        step(model, optimizer)
        step(second, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), second.parameters(), strict=True))


def test_a_state_of_before_the_first_step_is_loaded():
    _, optimizer = trained("adamw", steps=0)
    load_optimizer(optimizer, copy.deepcopy(optimizer.state_dict()))


CHANGES = {
    "shape": lambda state: state["state"][0].update(exp_avg=torch.zeros(1)),
    "bigger": lambda state: state["state"][1].update(exp_avg_sq=torch.zeros(99)),
    "dtype": lambda state: state["state"][0].update(exp_avg=state["state"][0]["exp_avg"].double()),
    "missing": lambda state: state["state"][0].pop("exp_avg"),
    "more": lambda state: state["state"][0].update(max_exp_avg_sq=torch.zeros(1)),
    "step as text": lambda state: state["state"][0].update(step="3"),
    "step as vector": lambda state: state["state"][0].update(step=torch.zeros(3)),
    "sparse": lambda state: state["state"][0].update(exp_avg=state["state"][0]["exp_avg"].to_sparse()),
    "index": lambda state: state["state"].update({7: state["state"][0]}),
    "index as text": lambda state: state["state"].update({"0": state["state"].pop(0)}),
    "betas": lambda state: state["param_groups"][0].update(betas=("0.9", "0.99")),
    "betas as text": lambda state: state["param_groups"][0].update(betas="0.9"),
    "rate": lambda state: state["param_groups"][0].update(lr=None),
    "fused": lambda state: state["param_groups"][0].update(fused="yes"),
    "setting": lambda state: state["param_groups"][0].pop("eps"),
    "parameters": lambda state: state["param_groups"][0].update(params=[0, 1]),
    "groups": lambda state: state["param_groups"].append({}),
    "no groups": lambda state: state.pop("param_groups"),
    "state": lambda state: state.update(state=[1, 2]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_state_of_another_form_is_refused_before_anything_is_loaded(change):
    _, optimizer = trained("adamw")
    state = copy.deepcopy(optimizer.state_dict())
    CHANGES[change](state)
    _, fresh = trained("adamw", steps=0)
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        load_optimizer(fresh, state)
    assert not fresh.state_dict()["state"]


def test_memory_that_is_shared_by_all_elements_is_not_written_to():
    """A tensor of the right shape may have the storage of one number: fused kernels would write past its end."""
    model, optimizer = trained("adamw")
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0]["exp_avg"] = torch.zeros(1).expand_as(state["state"][0]["exp_avg"])
    load_optimizer(optimizer, state)
    parameter = next(model.parameters())
    average = optimizer.state[parameter]["exp_avg"]
    assert average.stride() == parameter.stride()
    assert average.untyped_storage().nbytes() == 4 * parameter.numel()
