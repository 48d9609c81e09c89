import numpy as np
import pytest
import torch

from srwm import FewShotLearner, load_model, save_model
from srwm.errors import UserError
from srwm.fewshot.models.factory import with_all_heads
from srwm.learner.threads import threads_for

from .conftest import WIDTH, points


@pytest.fixture
def residual(trained):
    """The trained memory, half of whose logits are added to class means."""
    made = with_all_heads(trained)
    with torch.no_grad():
        made.memory_scale.fill_(0.5)
    return made


def test_the_heads_answer_as_the_model_does(residual, trained):
    x, y = points(3, 2, 0)
    asked, _ = points(3, 4, 1)
    given, slots = (torch.as_tensor(part, dtype=kind)[None] for part, kind in ((x, torch.float32), (y, torch.long)))
    order = list(dict.fromkeys(y.tolist()))  # labels get their index as they appear
    slots = torch.tensor([[order.index(label) for label in y.tolist()]])
    with torch.no_grad():
        expected = residual.logits_of(given, slots, torch.as_tensor(asked, dtype=torch.float32)[None],
                                      ("prototypes", "memory", "residual"))  # fmt: skip
    for head, logits in expected.items():
        learner = FewShotLearner(residual, head=head)
        for part in (slice(0, 2), slice(2, None)):
            learner.learn(x[part], y[part])
        found = learner.predict_proba(asked)
        wanted = logits[0, :, :3].double().softmax(-1).numpy()[:, np.argsort(order)]
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    memory = FewShotLearner(residual, head="memory").fit(x, y)
    assert np.array_equal(FewShotLearner(trained).fit(x, y).predict(asked), memory.predict(asked))


def test_class_means_are_the_default_where_the_model_has_them(residual, trained):
    x, y = points(3, 2, 0)
    assert FewShotLearner(residual).fit(x, y).state_ is None
    assert FewShotLearner(trained).fit(x, y).state_ is not None
    with pytest.raises(ValueError, match=r"head: expected auto or memory .*got 'prototypes'"):
        FewShotLearner(trained, head="prototypes").fit(x, y)
    with pytest.raises(ValueError, match="head: expected auto or prototypes or memory or residual, got 'best'"):
        FewShotLearner(residual, head="best").fit(x, y)


def test_fifty_ways(residual):
    x, y = points(50, 3, 0)
    learner = FewShotLearner(residual).fit(x[:60], y[:60]).learn(x[60:], y[60:])
    assert len(learner.classes_) == 50
    assert learner.score(x, y) > 0.9
    with pytest.raises(ValueError, match="expected 4 classes or fewer"):
        FewShotLearner(residual, head="residual").fit(x, y)


def test_order_and_grouping_of_examples_do_not_matter_to_class_means(residual):
    x, y = points(4, 10, 0)
    asked, wanted = points(4, 50, 1)
    together = FewShotLearner(residual).fit(x, y)
    one_by_one = FewShotLearner(residual)
    for row, label in zip(x[::-1], y[::-1], strict=True):
        one_by_one.learn(row[None], [label])
    np.testing.assert_allclose(together.predict_proba(asked), one_by_one.predict_proba(asked), atol=1e-5)
    assert together.score(asked, wanted) >= FewShotLearner(residual).fit(x[:8], y[:8]).score(asked, wanted) - 0.02


@pytest.mark.parametrize("head", ["prototypes", "memory", "residual"])
@pytest.mark.parametrize("passes", [1, 3])
def test_each_head_is_saved_with_the_sums_of_its_classes(residual, tmp_path, head, passes):
    x, y = points(4, 3, 0)
    learner = FewShotLearner(residual, head=head, tta_passes=passes).fit(x, y)
    assert learner._learned().examples.counts.sum() == 12
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(residual).load(tmp_path / "state")
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    assert np.array_equal(loaded.learn(x[:1], y[:1]).predict_proba(x), learner.learn(x[:1], y[:1]).predict_proba(x))


def test_a_file_of_the_memory_alone_is_refused_with_what_to_do(residual, trained, tmp_path):
    x, y = points(3, 2, 0)
    FewShotLearner(trained).fit(x, y).save(tmp_path / "state")
    with pytest.raises(UserError, match=r"earlier version of srwm.*learn the examples again"):
        FewShotLearner(residual).load(tmp_path / "state")


def test_a_model_with_all_heads_is_saved_and_loaded(residual, tmp_path):
    save_model(residual, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    x, y = points(4, 3, 0)
    for head in ("prototypes", "residual"):
        assert np.array_equal(
            FewShotLearner(loaded, head=head).fit(x, y).predict_proba(x),
            FewShotLearner(residual, head=head).fit(x, y).predict_proba(x),
        )


def test_too_large_numbers_are_refused(residual):
    learner = FewShotLearner(residual)
    with pytest.raises(ValueError, match="finite"):
        learner.fit(np.full((2, WIDTH), 3e38) * np.linspace(-1, 1, WIDTH), [0, 1])


def test_few_images_are_computed_on_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for images, threads in ((1, 1), (16, 1), (17, 2)):
            with threads_for(images):
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
