import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model, with_all_heads, with_head
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import StackConfig

STACK = StackConfig(d_model=16, num_heads=2, num_layers=2, ff_factor=1)
VECTORS = ModelConfig(image_shape=(6,), stem="none", n_way=3, stack=STACK, head="residual")


@pytest.fixture
def model() -> ResidualModel:
    torch.manual_seed(0)
    made = build_model(VECTORS)
    assert isinstance(made, ResidualModel)
    return made.eval()


def disturb(model: ResidualModel) -> None:
    with torch.no_grad():
        model.memory_scale.fill_(0.7)
        model.class_means.map.weight.add_(0.3 * torch.randn(6, 6))


def test_an_untrained_model_is_class_means_after_layer_norm(model):
    known, labels, asked = torch.randn(4, 6, 6), torch.tensor([[0, 1, 2, 1, 0, 0]]).expand(4, -1), torch.randn(4, 5, 6)
    logits = model.query_features(asked, model.learn_features(known, labels))
    codes, queries = F.layer_norm(known, (6,)), F.layer_norm(asked, (6,))
    means = torch.stack([codes[:, labels[0] == c].mean(1) for c in range(3)], 1)
    assert_close(logits, -5 * (queries[:, :, None] - means[:, None]).square().mean(-1), atol=1e-5, rtol=1e-5)


def test_a_sequence_in_pieces_with_resets_and_padding_is_the_whole(model):
    disturb(model)
    images, labels = torch.randn(2, 8, 6), torch.randint(-1, 3, (2, 8))
    resets, mask = torch.zeros(2, 8, dtype=torch.bool), torch.ones(2, 8, dtype=torch.bool)
    resets[1, 3], mask[0, 5] = True, False
    whole, state = model(images, labels, None, resets, mask)
    pieces, carried = [], None
    for t in range(8):
        step = slice(t, t + 1)
        piece, carried = model(images[:, step], labels[:, step], carried, resets[:, step], mask[:, step])
        pieces.append(piece)
    assert_close(torch.cat(pieces, 1)[mask], whole[mask], atol=1e-4, rtol=1e-4)
    assert_close(carried[1], state[1])
    assert_close(model.learn_features(images[:1, 6:], labels[:1, 6:], model(images[:1, :6], labels[:1, :6])[1])[1][1].sum(),
                 (labels[0] >= 0).float().sum())  # fmt: skip


@pytest.mark.parametrize("head", ["prototypes", "memory", "residual"])
def test_each_head_is_a_model_of_its_own(model, head):
    disturb(model)
    known, labels, asked = torch.randn(2, 6, 6), torch.randint(3, (2, 6)), torch.randn(2, 5, 6)
    found = model.logits_of(known, labels, asked, (head,))[head]
    alone = with_head(model, head)
    assert_close(alone.query_features(asked, alone.learn_features(known, labels)), found)
    assert next(alone.parameters()).data_ptr() in {each.data_ptr() for each in model.parameters()}


def test_class_means_have_any_number_of_ways_and_a_memory_has_not(model):
    many = with_head(model, "prototypes", n_way=50)
    eye = torch.randn(1, 50, 6)
    assert many.query_features(eye, many.learn_features(eye, torch.arange(50)[None])).argmax(-1).tolist() == [list(range(50))]
    with pytest.raises(ValueError, match="n_way: expected 3 with the head memory, got 50"):
        with_head(model, "memory", n_way=50)


def test_no_head_disturbs_another(model):
    disturb(model)
    known, labels, asked = torch.randn(2, 6, 6), torch.randint(3, (2, 6)), torch.randn(2, 5, 6)
    starts = {"prototypes": "class_means", "memory": ("input", "stack", "out_layer"), "residual": "memory_scale"}
    for head, start in starts.items():
        model.zero_grad()
        model.logits_of(known, labels, asked, (head,))[head].square().mean().backward()
        reached = [name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()]
        assert reached
        assert all(name.startswith(start) for name in reached)


def test_a_memory_gets_the_other_heads_and_keeps_its_weights():
    memory = FewShotModel(ModelConfig(image_shape=(6,), stem="none", n_way=3, stack=STACK))
    made = with_all_heads(memory)
    known, labels, asked = torch.randn(2, 6, 6), torch.randint(3, (2, 6)), torch.randn(2, 5, 6)
    found = with_head(made, "memory").query_features(asked, made.learn_features(known, labels)[0])
    assert_close(found, memory.query_features(asked, memory.learn_features(known, labels)))


def test_a_state_of_another_head_is_an_error(model):
    with pytest.raises(ValueError, match="state: expected a pair"):
        model.query_features(torch.randn(1, 2, 6), torch.zeros(1))
