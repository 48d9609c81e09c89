"""Every core and every stem trains in every protocol."""

import dataclasses

import pytest
import torch

from srwm.errors import UserError
from srwm.fewshot.images import to_float
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.protocols.bootstrap import BootstrapConfig
from srwm.fewshot.protocols.registry import PROTOCOLS, build_protocol, check_config, with_second
from srwm.fewshot.protocols.sequential import SequentialConfig
from srwm.nn import StackConfig
from srwm.nn.registry import CORES

PROTOCOL = {
    "synchronous": {},
    "delayed": {"k_shot": 3},
    "sequential": {"k_shot": 3, "second_data": "glyphs", "protocol_options": SequentialConfig(trim=5)},
    "bootstrap": {"protocol_options": BootstrapConfig(future=3)},
}
STEMS = {"none": 64, "conv4": 4, "resnet12": (2, 3, 4, 5)}


def train_a_little(config, splits, steps=2):
    """The gradients' norms of the first step, and whether the weights moved."""
    data = (splits["train"],) * PROTOCOLS[config.protocol].num_sets
    torch.manual_seed(0)
    protocol = build_protocol(config, data)
    before = {name: tensor.clone() for name, tensor in protocol.named_parameters()}
    optimizer = torch.optim.Adam(protocol.parameters(), lr=0.01)
    sampler = protocol.sampler(config, data, torch.Generator().manual_seed(0))
    for _ in range(steps):
        step = sampler.sample()
        loss, accuracy, terms = protocol(step._replace(images=to_float(step.images)))
        assert loss.dim() == accuracy.dim() == 0
        assert {*terms} == {"train_loss", *protocol.extra_terms}
        optimizer.zero_grad()
        loss.backward()
        assert loss.isfinite()
        optimizer.step()
    return {name for name, tensor in protocol.named_parameters() if torch.equal(tensor, before[name])}


def configured(config, protocol, stem, core):
    stack = StackConfig(core=core, d_model=8, num_heads=2, num_layers=1, ff_factor=1)
    model = ModelConfig(image_shape=(1, 16, 16), n_way=3, stem=stem, stem_channels=STEMS[stem], stack=stack)
    return dataclasses.replace(config, protocol=protocol, model=model, episodes=4, augment=False, **PROTOCOL[protocol])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("core", CORES)
def test_every_core(config, splits, protocol, core):
    assert train_a_little(configured(config, protocol, "none", core), splits) == set()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stem", ["conv4", "resnet12"])
def test_every_stem(config, splits, protocol, stem):
    assert train_a_little(configured(config, protocol, stem, "srwm"), splits) == set()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bfloat16_and_an_auxiliary_loss(config, splits, protocol):
    config = configured(config, protocol, "conv4", "lstm")
    auxiliary = dataclasses.replace(config.auxiliary, kind="classes")
    assert train_a_little(dataclasses.replace(config, precision="bfloat16", auxiliary=auxiliary), splits) == set()


def test_an_unknown_protocol_is_reported(config, splits):
    with pytest.raises(UserError, match=r"protocol: expected (\w+ or )+\w+, got 'other'"):
        check_config(dataclasses.replace(config, protocol="other"), with_second(splits, None))
