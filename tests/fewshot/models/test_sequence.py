"""The few-shot learner: what goes in, what comes out, and the paper's own sizes."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from srwm.errors import UserError
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import CORES, StackConfig

STACK = StackConfig(d_model=8, num_heads=2, num_layers=1, ff_factor=2)
VECTORS = {"image_shape": (6,), "stem": "none", "n_way": 3}
CONFIGS = {
    "balanced": ModelConfig(**VECTORS, stack=STACK),
    "paper": ModelConfig(**VECTORS, stack=STACK, input="paper"),
    "paper lstm": ModelConfig(
        **VECTORS,
        input="paper",
        input_projection=False,
        stack=StackConfig(core="lstm", d_model=8, num_layers=1, ff_factor=0, residual="none"),
    ),
    "codes": ModelConfig(**VECTORS, stack=STACK, input="codes"),
    "conv4": ModelConfig(n_way=3, stem_channels=4, stack=STACK),
    "conv4 of four widths": ModelConfig(n_way=3, stem_channels=(2, 3, 4, 5), stack=STACK),
    "resnet12": ModelConfig(image_shape=(3, 32, 32), n_way=3, stem="resnet12", stem_channels=(2, 3, 4, 5), stack=STACK),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> FewShotModel:
    return FewShotModel(CONFIGS[request.param]).eval()


def episode(model: FewShotModel, steps: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(2, steps, *model.config.image_shape), torch.randint(-1, 3, (2, steps))


@pytest.mark.parametrize("core", sorted(CORES))
@pytest.mark.parametrize("stem", ["balanced", "paper", "conv4", "resnet12"])
def test_any_stem_goes_with_any_core(stem: str, core: str) -> None:
    config = replace(CONFIGS[stem], stack=replace(STACK, core=core))
    model = FewShotModel(config)
    images, labels = episode(model)
    _, state = model(images, labels)
    model.query(images[:, :2], state).square().sum().backward()
    reached = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached >= {"input", "stack", "out_layer"} | ({"stem"} if config.stem != "none" else set())


def test_the_paper_s_omniglot_model_has_its_number_of_parameters() -> None:
    model = FewShotModel(
        ModelConfig(input="paper", stem_channels=64, stack=StackConfig(d_model=256, num_heads=16, num_layers=2))
    )
    assert sum(p.numel() for p in model.parameters()) == 1_342_021


def test_logits_and_queries(model: FewShotModel) -> None:
    images, labels = episode(model)
    logits, state = model(images, labels)
    assert logits.shape == (2, 5, 3)
    queries = torch.randn(2, 4, *model.config.image_shape)
    queried = model.query(queries, state)
    separate = [model(queries[:, i : i + 1], torch.full((2, 1), -1), state)[0] for i in range(4)]
    assert_close(queried, torch.cat(separate, 1), rtol=1e-4, atol=1e-5)


def test_features_may_be_computed_beforehand(model: FewShotModel) -> None:
    images, labels = episode(model)
    features = model.embed(images)
    assert features.shape == (2, 5, model.num_features)
    assert_close(model.embed(images[0, 0]), features[0, 0], rtol=1e-4, atol=1e-5)
    assert model.embed(images[:, :0]).shape == (2, 0, model.num_features)
    logits, state = model(images, labels)
    assert_close(model.forward_features(features, labels), (logits, state), rtol=1e-4, atol=1e-5)
    assert_close(model.query_features(features, state), model.query(images, state), rtol=1e-4, atol=1e-5)
    assert_close(model.query_features(features.bfloat16(), state), model.query(images, state), rtol=0.1, atol=0.1)


def test_no_label_is_class_0_in_the_paper_s_input_and_its_own_embedding_in_the_balanced_one() -> None:
    features, labels = torch.randn(1, 2, 6), torch.tensor([[-1, 0]])
    paper, balanced = FewShotModel(CONFIGS["paper"]), FewShotModel(CONFIGS["balanced"])
    assert_close(paper.encode(features, labels), paper.encode(features, torch.zeros_like(labels)), rtol=0, atol=0)
    none, zero = (balanced.encode(features, torch.full((1, 2), label)) for label in (-1, 0))
    embedding = balanced.input.label_embedding.weight
    assert_close(none - zero, (embedding[3] - embedding[0]).expand(1, 2, -1), rtol=1e-4, atol=1e-5)


def test_a_code_has_places_of_its_own() -> None:
    model = FewShotModel(CONFIGS["codes"]).eval()
    features = torch.randn(1, 4, 6)
    encoded = model.encode(features, torch.tensor([[-1, 0, 1, 2]]))[0]
    bare = model.encode(features, torch.full((1, 4), -1))[0]
    assert torch.equal(encoded[:, :-3], bare[:, :-3]), "the label does not touch the features"
    torch.testing.assert_close(encoded[:, -3:], model.input.log_scale.exp() * torch.eye(4, 3).roll(1, 0) * torch.ones(4, 1))


def test_mask_and_resets_reach_the_memory(model: FewShotModel) -> None:
    images, labels = episode(model)
    mask, resets = torch.ones(2, 5, dtype=torch.bool), torch.zeros(2, 5, dtype=torch.bool)
    mask[:, 1], resets[:, 3] = False, True
    _, state = model(images, labels, resets=resets, mask=mask)
    assert_close(state, model(images[:, 3:], labels[:, 3:])[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.embed(torch.zeros(2, 3, 28, 28)), "images: expected (..., 1, 28, 28), got (2, 3, 28, 28)"),
        (lambda m: m.embed(torch.zeros(28, 28)), "images: expected (..., 1, 28, 28), got (28, 28)"),
        (lambda m: m.embed(torch.zeros(2, 1, 8, 8)), "images: expected (..., 1, 28, 28), got (2, 1, 8, 8)"),
        (lambda m: m.encode(torch.zeros(2, 5, 5), torch.zeros(2, 5).long()), "features: expected (B, T, 4), got (2, 5, 5)"),
        (
            lambda m: m.encode(torch.zeros(2, 5, 4), torch.zeros(2, 4).long()),
            "labels: expected int64 (B, T) = (2, 5), got torch.int64",
        ),
        (
            lambda m: m.encode(torch.zeros(2, 5, 4), torch.zeros(2, 5)),
            "labels: expected int64 (B, T) = (2, 5), got torch.float32",
        ),
        (lambda m: m.encode(torch.zeros(1, 2, 4), torch.tensor([[0, 3]])), "labels: expected -1 (no label) to 2, got 0 to 3"),
        (lambda m: m.query_features(torch.zeros(2, 4)), "features: expected (B, Q, 4), got (2, 4)"),
        (lambda m: FewShotModel(ModelConfig(stem="vit")), "stem: expected conv4, resnet12 or none, got 'vit'"),
        (lambda m: FewShotModel(ModelConfig(stem="resnet12")), "stem_channels: expected four numbers for resnet12, got 64"),
        (
            lambda m: FewShotModel(ModelConfig(stem_channels=(1, 2, 3))),  # type: ignore[arg-type]
            "stem_channels: expected one number or four, got (1, 2, 3)",
        ),
        (
            lambda m: FewShotModel(ModelConfig(image_shape=(1, 8, 8))),
            "image_shape: expected (C, H, W) with H and W of 16 or more",
        ),
        (lambda m: FewShotModel(ModelConfig(stem_channels=0)), "stem_channels: expected 1 or more, got 0"),
        (lambda m: FewShotModel(ModelConfig(stem_dropout=-0.5)), "stem_dropout: expected a number from 0 to 1, got -0.5"),
        (lambda m: FewShotModel(ModelConfig(image_shape=(0, 28, 28))), "image_shape: expected 1 or more, got (0, 28, 28)"),
        (lambda m: FewShotModel(ModelConfig(input="tokens")), "input: expected paper, balanced or codes, got 'tokens'"),
        (
            lambda m: FewShotModel(ModelConfig(input="codes", n_way=8, stack=STACK)),
            "stack.d_model: expected more than n_way = 8 with input 'codes', got 8",
        ),
        (
            lambda m: FewShotModel(ModelConfig(input_projection=False)),
            "input_projection: expected True with the input 'balanced'",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(call: Callable[[FewShotModel], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call(FewShotModel(CONFIGS["conv4"]))
    assert "\n" not in str(caught.value)


def test_an_impossible_size_of_a_stored_configuration_is_reported() -> None:
    with pytest.raises(UserError, match="model: n_way: expected 2 or more, got -1"):
        build_model(ModelConfig(n_way=-1))
