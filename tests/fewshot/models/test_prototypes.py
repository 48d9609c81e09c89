import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from srwm.cli import main
from srwm.errors import UserError
from srwm.fewshot.episodes import Episodes, EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import (
    BASELINES,
    NEAREST_FEATURES,
    PROTOTYPES,
    PROTOTYPES_NORMALIZED,
    baselines,
    evaluate_baselines,
    nearest_labels,
    predictors,
    prototype_labels,
)
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import episode_logits, evaluate
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.report import load_best, score_baselines, score_run
from srwm.fewshot.training.loop import train
from srwm.training.optimizer import OptimizerConfig

VECTORS = ModelConfig(image_shape=(2,), stem="none", n_way=3, head="prototypes")


def test_a_hand_made_episode():
    model = PrototypicalNetwork(VECTORS)
    support = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [2.0, 0.0], [4.0, 2.0]]])
    labels = torch.tensor([[0, 1, 0, 1]])
    logits, state = model(support, labels)
    assert_close(state[0], torch.tensor([[[2.0, 0.0], [8.0, 2.0], [0.0, 0.0]]]))
    assert_close(state[1], torch.tensor([[2.0, 2.0, 0.0]]))
    query = model.query(torch.tensor([[[1.0, 0.0], [4.0, 2.0]]]), state)
    assert_close(query[0, :, :2], torch.tensor([[0.0, -10.0], [-13.0, -1.0]]))
    assert_close(query.softmax(-1)[..., 2], torch.zeros(1, 2))
    assert_close(logits[0, 0].softmax(-1), torch.full((3,), 1 / 3), msg="nothing is known yet")
    assert_close(logits[0, 1].softmax(-1), torch.tensor([1.0, 0.0, 0.0]), msg="predicted before it is learned")


def test_a_sequence_in_pieces_with_resets_and_padding_is_the_whole():
    torch.manual_seed(0)
    model = PrototypicalNetwork(VECTORS)
    images, labels = torch.randn(2, 8, 2), torch.randint(-1, 3, (2, 8))
    resets, mask = torch.zeros(2, 8, dtype=torch.bool), torch.ones(2, 8, dtype=torch.bool)
    resets[1, 3], mask[0, 5] = True, False
    images[0, 5] = torch.nan
    whole, state = model(images, labels, None, resets, mask)
    assert (whole[0, 5] == 0).all()
    assert whole.isfinite().all()
    pieces, carried = [], None
    for t in range(8):
        step = slice(t, t + 1)
        piece, carried = model(images[:, step], labels[:, step], carried, resets[:, step], mask[:, step])
        pieces.append(piece)
    assert_close(torch.cat(pieces, 1), whole)
    assert_close(carried, state)
    _, after = model(images[1:, 3:], labels[1:, 3:])
    assert_close(tuple(part[1:] for part in state), after)


def test_examples_learned_at_once_leave_what_one_after_the_other_does():
    torch.manual_seed(0)
    model = PrototypicalNetwork(VECTORS)
    features, labels = torch.randn(4, 9, 2), torch.randint(-1, 3, (4, 9))
    for state in (None, model.learn_features(features[:, :3], labels[:, :3])):
        assert_close(model.learn_features(features, labels, state), model.forward_features(features, labels, state)[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(model.learn_features(features, labels), model.forward_features(features, labels)[1])
    with pytest.raises(ValueError, match="labels: expected -1"):
        model.learn_features(features, labels + 3)


FITTING = {
    "features": torch.zeros(4, 9, 2),
    "labels": torch.zeros(4, 9, dtype=torch.long),
    "state": (torch.zeros(4, 3, 2), torch.zeros(4, 3)),
    "resets": torch.zeros(4, 9, dtype=torch.bool),
    "mask": torch.ones(4, 9, dtype=torch.bool),
}
TAKES = {
    "forward_features": FITTING.keys(),
    "learn_features": ("features", "labels", "state"),
    "query_features": ("features", "state"),
}
UNFIT = [
    ({"features": torch.zeros(4, 9, 1)}, r"features: expected \(B, [TQ], 2\), got \(4, 9, 1\)"),
    ({"features": torch.zeros(4, 2)}, r"features: expected \(B, [TQ], 2\), got \(4, 2\)"),
    ({"state": (torch.zeros(1, 3, 2), torch.zeros(1, 3))}, r"state\[0\]: expected \(4, 3, 2\), got \(1, 3, 2\)"),
    ({"state": (torch.zeros(4, 3, 2), torch.zeros(4, 1))}, r"state\[1\]: expected \(4, 3\), got \(4, 1\)"),
    ({"state": torch.zeros(4, 3, 2)}, "state: expected a tuple of 2, got a tensor"),
    ({"resets": torch.zeros(4, 8, dtype=torch.bool)}, r"resets: expected \(B, T\) = \(4, 9\), got \(4, 8\)"),
    ({"mask": torch.ones(4, 10, dtype=torch.bool)}, r"mask: expected \(B, T\) = \(4, 9\), got \(4, 10\)"),
    ({"mask": torch.ones(4, 9)}, r"mask: expected dtype torch\.bool, got torch\.float32"),
]


@pytest.mark.parametrize(
    ("method", "unfit", "message"),
    [(method, *case) for method in TAKES for case in UNFIT if case[0].keys() <= set(TAKES[method])],
)
def test_what_does_not_fit_is_an_error(method, unfit, message):
    call = getattr(PrototypicalNetwork(VECTORS), method)
    call(**{name: FITTING[name] for name in TAKES[method]})
    with pytest.raises(ValueError, match=message):
        call(**{name: (FITTING | unfit)[name] for name in TAKES[method]})


def test_gradients_reach_the_stem_through_both_prototypes_and_queries():
    model = PrototypicalNetwork(dataclasses.replace(VECTORS, n_way=2)).double()
    features = torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True)

    def logits(features):
        _, state = model.forward_features(features[:, :2], torch.tensor([[0, 1]]))
        return model.query_features(features[:, 2:], state)

    assert torch.autograd.gradcheck(logits, features)


def test_it_trains_by_the_same_machinery(tmp_path, config, splits):
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, head="prototypes", stem_dropout=0.0),
        optimizer=OptimizerConfig(lr=0.01),
        schedule="constant",
        precision="bfloat16",
        augment=False,
        steps=20,
        validate_every=10,
    )
    train(config, splits, tmp_path / "run", accelerator="cpu")
    model = load_best(tmp_path / "run")
    assert isinstance(model, PrototypicalNetwork)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"stem"}
    accuracy, _, features = score_run(tmp_path / "run", [splits["test"]], EvaluationConfig(200))
    assert accuracy.mean > 0.9
    baselines = score_baselines(tmp_path / "run", splits["test"], EvaluationConfig(200), features)
    assert baselines == score_baselines(tmp_path / "run", splits["test"], EvaluationConfig(200))
    assert baselines[PROTOTYPES] == accuracy, "its own prototypes are the model itself"
    stored = json.loads((tmp_path / "run" / "baselines.json").read_text())
    assert stored[PROTOTYPES]["mean"] == accuracy.mean
    assert stored["n_way"] == 3


def test_baselines_answer_the_episodes_of_the_model(config, splits):
    torch.manual_seed(0)
    model, data, shape = build_model(config.model).eval(), splits["test"], EpisodeShape(3, 2, 4)
    drawn = draw_episodes(torch.from_numpy(data.offsets), shape, 20, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = model.embed(torch.from_numpy(data.images).float() / 255)
        known = predictors(model, features)
        assert torch.equal(known["model"](drawn), episode_logits(model, features, drawn).argmax(-1))
        for b in range(20):
            for q in range(4):
                query = features[drawn.query[b, q]]
                shown = features[drawn.support[b]]
                cosine = torch.nn.functional.cosine_similarity(shown, query[None])
                assert known[NEAREST_FEATURES](drawn)[b, q] == drawn.support_labels[b, cosine.argmax()]
                means = torch.stack([shown[drawn.support_labels[b] == c].mean(0) for c in range(3)])
                assert known[PROTOTYPES](drawn)[b, q] == (means - query).norm(dim=1).argmin()
                shown, query = (torch.nn.functional.layer_norm(part, part.shape[-1:]) for part in (shown, query))
                means = torch.stack([shown[drawn.support_labels[b] == c].mean(0) for c in range(3)])
                assert known[PROTOTYPES_NORMALIZED](drawn)[b, q] == (means - query).norm(dim=1).argmin()
    scores = evaluate_baselines(model, data, shape, 50, seed=3)
    assert tuple(scores) == BASELINES
    assert all(accuracy.episodes == 50 for accuracy in scores.values())
    assert evaluate(model, data, shape, 50, seed=3).episodes == 50


def test_nearest_labels_are_the_same_in_pieces_and_differ_by_metric(monkeypatch):
    vectors = torch.tensor([[1.0, 0.0], [0.3, 0.3], [10.0, 1.0], [0.0, 9.0]])
    episode = Episodes(*(torch.tensor([part, part]) for part in ([0, 1], [1, 0], [2, 3], [1, 0])))
    assert nearest_labels(vectors, episode).tolist() == [[1, 0]] * 2
    assert nearest_labels(vectors, episode, "cosine").tolist() == [[1, 0]] * 2
    vectors = torch.tensor([[1.0, 0.0], [8.0, 8.0], [10.0, 1.0], [0.0, 9.0]])
    assert nearest_labels(vectors, episode).tolist() == [[0, 0]] * 2
    assert nearest_labels(vectors, episode, "cosine").tolist() == [[1, 0]] * 2
    monkeypatch.setattr("srwm.fewshot.evaluation.baselines._NUMBERS_AT_ONCE", 1)
    assert nearest_labels(vectors, episode).tolist() == [[0, 0]] * 2


def test_baselines_see_views_as_one_long_vector():
    torch.manual_seed(0)
    features = [torch.randn(60, 5), 3 * torch.randn(60, 5) + 1]
    drawn = draw_episodes(torch.arange(0, 61, 6), EpisodeShape(4, 2, 4), 50)
    found, (first, second) = baselines(features), (baselines([view]) for view in features)
    joined, normalized = torch.cat(features, 1), torch.cat([torch.nn.functional.layer_norm(view, (5,)) for view in features], 1)
    expected = {
        NEAREST_FEATURES: nearest_labels(joined, drawn, "cosine"),
        PROTOTYPES: prototype_labels([joined], drawn),
        PROTOTYPES_NORMALIZED: prototype_labels([normalized], drawn),
    }
    for name, labels in expected.items():
        assert torch.equal(found[name](drawn), labels)
        assert not torch.equal(first[name](drawn), labels)
        assert not torch.equal(second[name](drawn), labels)


def test_prototypes_of_one_example_are_nearest_neighbors():
    torch.manual_seed(0)
    features = torch.randn(60, 5)
    drawn = draw_episodes(torch.arange(0, 61, 6), EpisodeShape(4, 1, 8), 50)
    assert torch.equal(prototype_labels([features], drawn), nearest_labels(features, drawn))


@pytest.mark.parametrize("options", [[], ["--no-baselines"]])
def test_evaluate_prints_the_baselines(tmp_path: Path, config, splits, capsys, monkeypatch, options):
    config = dataclasses.replace(config, steps=2, validate_every=2)
    monkeypatch.setattr("srwm.cli.fewshot.load_splits", lambda name, folder: splits)
    train(config, splits, tmp_path / "run", accelerator="cpu")
    capsys.readouterr()
    assert main(["fewshot", "evaluate", str(tmp_path / "run"), "--episodes", "20", *options]) == 0
    shown = capsys.readouterr().out
    assert "test accuracy" in shown
    assert all((name in shown) != bool(options) for name in ("chance", *BASELINES))


def test_without_a_stem_there_is_nothing_to_train(tmp_path, config, splits):
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, head="prototypes", stem="none"))
    with pytest.raises(UserError, match="without a stem has no weights"):
        train(config, splits, tmp_path / "run")


def test_labels_that_come_late_are_of_no_use_to_prototypes(tmp_path, config, splits):
    config = dataclasses.replace(config, protocol="delayed", model=dataclasses.replace(config.model, head="prototypes"))
    with pytest.raises(UserError, match="does not fit the protocol"):
        train(config, splits, tmp_path / "run")
