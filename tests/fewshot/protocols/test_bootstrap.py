import dataclasses

import pytest
import torch
from torch.nn import functional as F

from srwm.errors import UserError
from srwm.fewshot.episodes import PoolConfig
from srwm.fewshot.images import to_float
from srwm.fewshot.models.sequence import FewShotModel
from srwm.fewshot.protocols.bootstrap import Bootstrap, BootstrapConfig, match_outputs, match_states
from srwm.fewshot.protocols.registry import check_config, with_second
from srwm.fewshot.protocols.synchronous import Synchronous


def tensors(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def bootstrapped(config, **chosen):
    config = dataclasses.replace(config, protocol="bootstrap", protocol_options=BootstrapConfig(**{"future": 4, **chosen}))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, stem_dropout=0.0))
    torch.manual_seed(0)
    return Bootstrap(config, num_classes=10), config


def first_step(config, splits):
    step = Bootstrap.sampler(config, (splits["train"],), torch.Generator().manual_seed(0)).sample()
    return step._replace(images=to_float(step.images))


def test_matching_of_outputs_is_a_divergence_from_a_constant():
    logits, target = tensors(0, (2, 3, 4), (2, 3, 4))
    loss = match_outputs(logits, target)
    expected = F.kl_div(logits.log_softmax(-1), target.softmax(-1), reduction="none").sum(-1).mean()
    assert torch.allclose(loss, expected)
    gradient, through_target = torch.autograd.grad(loss, (logits, target), allow_unused=True)
    assert gradient.abs().max() > 0
    assert through_target is None
    assert match_outputs(logits, logits) == 0


def test_matching_of_states_reaches_every_tensor_of_the_state_alone():
    a, b, target_a, target_b = tensors(1, (2, 3), (2, 5, 1), (2, 3), (2, 5, 1))
    count = torch.tensor([3, 4])
    loss = match_states(((a,), b, count), ((target_a,), target_b, count + 1))
    assert torch.allclose(loss, ((a - target_a).square().sum() + (b - target_b).square().sum()) / 16)
    *gradients, through_a, through_b = torch.autograd.grad(loss, (a, b, target_a, target_b), allow_unused=True)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert through_a is through_b is None
    assert match_states((), ()) == 0, "a core without memory"


@pytest.mark.parametrize("matching", ["output", "state"])
def test_without_future_examples_nothing_is_left_to_match(config, splits, matching):
    protocol, config = bootstrapped(config, future=0, matching=matching)
    terms = protocol(first_step(config, splits)).terms
    assert terms["matching_loss"] == 0
    assert terms["future_loss"] == terms["train_loss"]


@pytest.mark.parametrize("matching", ["output", "state"])
def test_terms_add_up_with_their_weights(config, splits, matching):
    protocol, config = bootstrapped(config, matching=matching, query_weight=2.0, future_weight=3.0, matching_weight=5.0)
    found = protocol(first_step(config, splits))
    assert found.terms.keys() == {"train_loss", *protocol.extra_terms}
    one, future, match = (found.terms[name] for name in ("train_loss", "future_loss", "matching_loss"))
    assert torch.allclose(found.loss, 2 * one + 3 * future + 5 * match)
    assert match > 0
    assert not torch.allclose(one, future)


def test_the_first_round_is_that_of_synchronous_labels(config, splits):
    protocol, config = bootstrapped(config)
    step = first_step(config, splits)
    found = protocol(step)
    torch.manual_seed(0)
    plain = Synchronous(config, num_classes=10)
    episodes = step.episodes._replace(query=step.episodes.query[:, 6:], query_labels=step.episodes.query_labels[:, 6:])
    expected = plain(step._replace(episodes=episodes))
    assert torch.allclose(found.terms["train_loss"], expected.loss)
    assert torch.allclose(found.accuracy, expected.accuracy)


def test_the_second_round_is_that_of_an_episode_with_all_of_the_examples(config, splits):
    protocol, config = bootstrapped(config)
    step = first_step(config, splits)
    support, labels, query, truth = step.episodes
    more = torch.cat([support, query[:, :4]], 1), torch.cat([labels, truth[:, :4]], 1), query[:, 6:], truth[:, 6:]
    torch.manual_seed(0)
    expected = Synchronous(config, num_classes=10)(step._replace(episodes=step.episodes._make(more)))
    assert torch.allclose(protocol(step).terms["future_loss"], expected.loss, atol=1e-6)


@pytest.mark.parametrize("future", [0, 2, 3, 4])
@pytest.mark.parametrize("queries", [2, 3, 5])
def test_future_examples_and_questions_are_spread_evenly_each(config, splits, monkeypatch, future, queries):
    """Among 3 classes no two numbers of examples, and no two of queries, differ by more than 1."""
    config = dataclasses.replace(config, queries=queries, pool=PoolConfig(classes=10, images_per_class=5))
    protocol, config = bootstrapped(config, future=future)
    read, scored = [], []
    learn, entropy = FewShotModel.learn_features, F.cross_entropy

    def reading(model, features, labels, state=None):
        read.append(labels)
        return learn(model, features, labels, state)

    def scoring(logits, labels):
        scored.append(labels.view(-1, queries))
        return entropy(logits, labels)

    monkeypatch.setattr(FewShotModel, "learn_features", reading)
    monkeypatch.setattr("srwm.fewshot.protocols.bootstrap.F.cross_entropy", scoring)
    protocol(first_step(config, splits))
    assert [part.shape[1] for part in read] == [3, future][: 1 + (future > 0)]
    for labels in (*read, *scored):
        counts = F.one_hot(labels, 3).sum(1)
        assert (counts.amax(1) - counts.amin(1) <= 1).all()


def test_what_does_not_fit_is_reported(config, splits):
    _, config = bootstrapped(config, future=-1)
    with pytest.raises(UserError, match=r"protocol_options\.future: expected 0 or more, got -1"):
        check_config(config, with_second(splits, None))
    _, config = bootstrapped(config, future=40)
    with pytest.raises(UserError, match="with 45 queries need a pool of 3 classes of 16 images"):
        check_config(config, with_second(splits, None))
