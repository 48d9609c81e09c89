import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch.testing import assert_close

from srwm.cli import main
from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.build import validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import NEAREST_FEATURES, PROTOTYPES, PROTOTYPES_NORMALIZED
from srwm.fewshot.evaluation.evaluate import Accuracy, embed_all, evaluate, score
from srwm.fewshot.figures.config import FiguresConfig
from srwm.fewshot.figures.curves import draw_learning_curves
from srwm.fewshot.figures.rates import draw_learning_rates, mean_learning_rates
from srwm.fewshot.figures.run import MATRIX_FIGURES, draw_figures
from srwm.fewshot.figures.shift import animate_shift, draw_shift
from srwm.fewshot.figures.shots import accuracy_per_shot, draw_accuracy_per_shot
from srwm.fewshot.figures.style import label_name, show_change, show_image
from srwm.fewshot.figures.trace import core_inputs, trace_episode
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.report import load_best
from srwm.nn import CORES, StackConfig, learning_rates
from srwm.training.runs import BEST, create_run
from srwm.training.weights import save_weights

COLUMNS = "step,minutes,learning_rate,train_loss,train_accuracy,val_accuracy,val_interval"


def images_of(channels: int, seed: int = 0, size: int = 16) -> ImageClasses:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 256, (8, 6, channels, size, size)).astype(np.uint8)
    return ImageClasses.from_groups("random", list(groups), [f"class {c}" for c in range(8)])


def small(core: str = "srwm", channels: int = 1, **stack) -> TrainConfig:
    stack = {"d_model": 12, "num_heads": 2, "num_layers": 2, "ff_factor": 1} | stack
    model = ModelConfig((channels, 16, 16), 3, stem="none", stack=StackConfig(core=core, **stack))
    return TrainConfig(
        model=model, queries=3, episodes=4, steps=2, log_every=1, validate_every=2, validation_episodes=4, validation_queries=3
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model(small().model).eval()


def one_episode(data, shape=EpisodeShape(3, 2, 4), episodes=1):  # noqa: B008
    return draw_episodes(torch.from_numpy(data.offsets), shape, episodes, torch.Generator().manual_seed(0))


def test_accuracy_per_shot_ends_with_that_of_whole_episodes_and_counts_examples():
    data, shape = images_of(1), EpisodeShape(3, 3, 3)
    lengths = []

    def as_many_right_as_examples(drawn):
        lengths.append(drawn.support.shape[1])
        right = torch.arange(3) < drawn.support.shape[1] // 3
        return torch.where(right, drawn.query_labels, (drawn.query_labels + 1) % 3)

    found = accuracy_per_shot(as_many_right_as_examples, data, shape, 10)
    assert lengths == [3, 6, 9]
    assert [accuracy.mean for accuracy in found] == pytest.approx([1 / 3, 2 / 3, 1])

    def first_label(drawn):
        return drawn.support_labels[:, :1].expand_as(drawn.query_labels)

    assert accuracy_per_shot(first_label, data, shape, 50, seed=4)[-1] == score(first_label, data, shape, 50, 4)


@pytest.mark.parametrize(("shots", "trained", "most"), [(1, (1, 1), 1), (3, (1, 5), 5), (5, (1, 1), 5)])
def test_the_axis_of_shots_is_as_wide_as_what_it_shows(tmp_path, monkeypatch, shots, trained, most):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: figures.append(self))
    draw_accuracy_per_shot({"model": [Accuracy(0.5, 0.1, 10)] * shots}, 3, trained, "run", tmp_path / "shots.png")
    assert figures[0].axes[0].get_xlim() == (0.5, most + 0.5)
    assert [tick for tick in figures[0].axes[0].get_xticks() if 0.5 < tick < most + 0.5] == list(range(1, most + 1))
    assert figures[0].axes[0].get_legend() is None, "it would lie on the points"


@pytest.mark.parametrize("name", ["run", "mini-imagenet-1shot-srwm-16-heads-decay-0.05", "a-name-" * 30])
def test_a_legend_fits_into_its_figure(tmp_path, monkeypatch, name):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: figures.append(self))
    lines = {key: [Accuracy(0.5, 0.1, 10)] * 3 for key in ("model", NEAREST_FEATURES, PROTOTYPES, PROTOTYPES_NORMALIZED)}
    draw_accuracy_per_shot(lines, 3, (1, 1), name, tmp_path / "shots.png")
    create_run(tmp_path / name[:200], small())
    draw_learning_curves([tmp_path / name[:200]], tmp_path / "curves.png")
    for figure in figures:
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert box.y0 >= 0


def test_learning_rates_fill_their_panels(tmp_path, monkeypatch):
    """Rates of 0.5 and rates that hardly differ are as easy to read as others."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: figures.append(self))
    generator = np.random.default_rng(0)
    rates = {layer: 0.5 + spread * generator.random((10, 4, 4), np.float32) for layer, spread in ((1, 0.04), (2, 0.4))}
    draw_learning_rates(rates, 20, 5, tmp_path / "rates.png")
    panels = figures[0].axes
    for axes, values in zip(panels, [block[:, :, column] for block in rates.values() for column in range(4)], strict=True):
        low, high = axes.get_ylim()
        assert low <= values.min() < values.max() <= high
        assert np.ptp(values) > 0.75 * (high - low)
        assert len(axes.lines) == 4 + 1 + 2 + 1, "each head, their mean, both extremes, the end of training"


def test_a_trace_is_what_the_model_does(model):
    data, drawn = images_of(1), one_episode(images_of(1))
    trace = trace_episode(model, data, drawn, layer=2, head=1)
    assert (trace.layer, trace.head, trace.support) == (2, 1, 6)
    assert trace.labels == [*drawn.support_labels[0].tolist(), *drawn.query_labels[0].tolist()]
    assert np.array_equal(trace.images[6:], data.images[drawn.query[0]])
    with torch.no_grad():
        images = torch.from_numpy(trace.images)[None].float() / 255
        state = None
        assert (trace.shifts[0] == 0).all()
        for step in range(6):
            now = slice(step, step + 1)
            _, state = model(images[:, now], drawn.support_labels[:, now], state)
            assert_close(torch.from_numpy(trace.shifts[step + 1]), state[1][0, 0])
            assert_close(torch.from_numpy(trace.probabilities[step]), model.query(images[:, now], state)[0, 0].softmax(-1))
        assert_close(torch.from_numpy(trace.probabilities[6:]), model.query(images[:, 6:], state)[0].softmax(-1))
    assert trace.norm(6) == pytest.approx(float(state[1][0, 0].norm()))


@pytest.mark.parametrize("training", [True, False])
def test_a_traced_model_keeps_its_mode(model, training):
    model.train(training)
    trace_episode(model, images_of(1), one_episode(images_of(1)))
    assert model.training == training


def test_without_a_choice_the_trace_is_of_the_matrix_that_changes_most(model):
    data, drawn = images_of(1), one_episode(images_of(1))

    def change(layer, head):
        trace = trace_episode(model, data, drawn, layer, head)
        return trace.norm(6) / float(model.stack.blocks[layer - 1].core.weight[head - 1].detach().norm())

    places = [(layer, head) for layer in (1, 2) for head in (1, 2)]
    chosen = trace_episode(model, data, drawn)
    assert (chosen.layer, chosen.head) == max(places, key=lambda place: change(*place))
    assert trace_episode(model, data, drawn, layer=1).layer == 1
    assert trace_episode(model, data, drawn, head=2).head == 2


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"layer": 3}, "layer: expected 1 to 2, got 3"),
        ({"head": 0}, "head: expected 1 to 2, got 0"),
        ({"head": 3}, "got 3"),
    ],
)
def test_a_matrix_that_is_not_there_is_reported(model, place, message):
    with pytest.raises(UserError, match=message):
        trace_episode(model, images_of(1), one_episode(images_of(1)), **place)


@pytest.mark.parametrize(
    ("core", "place", "message"),
    [
        ("srwm", {"layer": 0}, "layer: expected 1 to 2, got 0"),
        ("lstm", {"head": 1}, "head: expected none for a model without a self-referential matrix, got 1"),
    ],
)
def test_a_matrix_that_is_not_there_is_reported_before_anything_is_drawn(tmp_path, core, place, message):
    make_run(tmp_path / "run", small(core))
    with pytest.raises(UserError, match=message):
        list(draw_figures(tmp_path / "run", images_of(1), FiguresConfig(**place)))
    assert not (tmp_path / "run" / "figures").exists()


def test_a_run_that_was_not_validated_yet_has_curves_alone(tmp_path):
    make_run(tmp_path / "run", small())
    (tmp_path / "run" / BEST).unlink()
    figures = draw_figures(tmp_path / "run", images_of(1))
    assert next(figures).name == "learning_curves.png"
    with pytest.raises(
        UserError, match="run: not validated yet, so there are no best weights; continue training with --resume"
    ):
        next(figures)


def test_the_mean_learning_rates_are_those_of_every_episode(model):
    data = images_of(1)
    drawn = one_episode(data, episodes=5)
    with torch.inference_mode():
        features = embed_all(model, data)
        rates = mean_learning_rates(model, features, drawn)
        encoded = model.encode(features[drawn.support], drawn.support_labels)
        first = learning_rates(model.stack.blocks[0].core, encoded)
        second = learning_rates(model.stack.blocks[1].core, model.stack.blocks[0](encoded)[0])
    assert rates.keys() == {1, 2}
    assert_close(torch.from_numpy(rates[1]), first.mean(0))
    assert_close(torch.from_numpy(rates[2]), second.mean(0))
    assert rates[1].shape == (6, 2, 4)


def test_a_memory_that_is_not_carried_is_fresh_at_every_step():
    model = build_model(small(carry="never").model).eval()
    data = images_of(1)
    trace = trace_episode(model, data, one_episode(data), layer=1, head=1)
    again = trace_episode(model, data, one_episode(data, EpisodeShape(3, 2, 0)), layer=1, head=1)
    read = core_inputs(model, embed_all(model, data)[one_episode(data).support].detach(), one_episode(data).support_labels)
    key = read[0].shifts()[0, -1, 0]
    assert np.linalg.matrix_rank(trace.shifts[-1], tol=1e-6) == 1, "one write, not six"
    assert np.array_equal(trace.shifts, again.shifts)
    assert_close(torch.from_numpy(trace.shifts[-1]), key)


def test_a_picture_shows_the_numbers_of_the_trace_around_zero(model, tmp_path, monkeypatch):
    drawn = []

    def spy(axes, shift, limit):
        drawn.append((shift.copy(), limit))
        return show_change(axes, shift, limit)

    monkeypatch.setattr("srwm.fewshot.figures.shift.show_change", spy)
    data = images_of(1)
    trace = trace_episode(model, data, one_episode(data, EpisodeShape(3, 1, 2)))
    draw_shift(trace, tmp_path / "shift.png")
    with Image.open(tmp_path / "shift.png") as picture:
        assert picture.width > 800
    assert [shift.tolist() for shift, _ in drawn] == trace.shifts.tolist()
    assert {limit for _, limit in drawn} == {float(np.abs(trace.shifts).max())}
    axes: Axes = Figure().subplots()
    assert show_change(axes, trace.shifts[1], 0.5).get_clim() == (-0.5, 0.5)


def test_a_long_episode_gets_few_panels_and_every_frame(model, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("srwm.fewshot.figures.shift.show_change", lambda *given: drawn.append(given[1]) or show_change(*given))
    data = images_of(1)
    trace = trace_episode(model, data, one_episode(data, EpisodeShape(3, 3, 1)))
    draw_shift(trace, tmp_path / "shift.png")
    assert len(drawn) == 6
    assert np.array_equal(drawn[-1], trace.shifts[-1])
    assert (drawn[0] == 0).all()
    animate_shift(trace, tmp_path / "shift.gif")
    with Image.open(tmp_path / "shift.gif") as picture:
        assert picture.n_frames == 1 + 9 + 1
        assert picture.info["loop"] == 0
    assert (tmp_path / "shift.gif").stat().st_size < 2_000_000


def test_images_are_shown_in_their_colors():
    axes = Figure().subplots(1, 2)
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    show_image(axes[0], image)
    assert np.array_equal(axes[0].images[0].get_array(), image.transpose(1, 2, 0))
    show_image(axes[1], image[:2])
    assert np.array_equal(axes[1].images[0].get_array(), image[0])


def test_labels_have_names_beyond_the_alphabet():
    assert [label_name(n) for n in (0, 25, 26)] == ["A", "Z", "27"]


def test_learning_curves_show_every_run_and_chance(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: figures.append(self))
    for name, best in (("one", 0.5), ("two", 0.75)):
        create_run(tmp_path / name, small())
        rows = ["1,0.1,0.001,1.0,0.4,,", f"2,0.2,0.001,0.9,0.5,{best},0.01"]
        (tmp_path / name / "metrics.csv").write_text("\n".join([COLUMNS, *rows, ""]))
    create_run(tmp_path / "empty", small())
    draw_learning_curves([tmp_path / name for name in ("one", "two", "empty", "two/../one")], tmp_path / "curves.png")
    accuracy, loss = figures[0].axes
    lines = [line.get_xydata().tolist() for line in accuracy.lines]
    assert lines.count([[0.1, 40.0], [0.2, 50.0]]) == 2, "one each"
    assert [[0.2, 75.0]] in lines
    for axes, chance in ((accuracy, 100 / 3), (loss, math.log(3))):
        levels = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
        assert levels == [[pytest.approx(chance)] * 2]
    texts = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert texts[:3] == ["one, 2 steps, best 50.0 %", "two, 2 steps, best 75.0 %", "empty, 0 steps"]


@pytest.mark.parametrize("best", [1.0, 0.5])
def test_accuracies_near_all_and_nothing_are_distinguished_and_within_the_axis(tmp_path, monkeypatch, best):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: figures.append(self))
    create_run(tmp_path / "run", small())
    (tmp_path / "run" / "metrics.csv").write_text(f"{COLUMNS}\n1,0.1,0.001,1.0,0.0,,\n2,0.2,0.001,0.9,{best},{best},0.01\n")
    draw_learning_curves([tmp_path / "run"], tmp_path / "curves.png")
    axes = figures[0].axes[0]
    places = axes.transData.transform([(0, percent) for percent in (0, 1, 40, 41, 99, 100)])[:, 1]
    assert np.isfinite(places).all()
    assert places[5] - places[4] > 10 * (places[3] - places[2])
    assert places[1] - places[0] == pytest.approx(places[5] - places[4])
    low, high = axes.get_ylim()
    assert 0 < low < 100 / 3
    assert 100 * best <= high <= 100
    assert [tick for tick in axes.get_yticks() if low <= tick <= high] == axes.get_yticks().tolist()


@pytest.mark.parametrize("name", ["minutes", "train_loss", "train_accuracy", "val_interval"])
def test_a_column_that_is_missing_is_named(tmp_path, name):
    make_run(tmp_path / "run", small())
    path = tmp_path / "run" / "metrics.csv"
    path.write_text(path.read_text().replace(name, "other"))
    with pytest.raises(UserError, match=rf"metrics\.csv: not a table of metrics, a row has no {name}"):
        draw_learning_curves([tmp_path / "run"], tmp_path / "curves.png")


def make_run(folder: Path, config: TrainConfig) -> None:
    """A run folder as training leaves it, without training."""
    torch.manual_seed(0)
    create_run(folder, config)
    save_weights(folder / BEST, build_model(config.model), {"step": 1})
    (folder / "metrics.csv").write_text(f"{COLUMNS}\n1,0.1,0.001,1.1,0.3,0.4,0.01\n")


@pytest.mark.parametrize("core", ["srwm", "lstm", "prototypes"])
def test_every_model_has_its_figures(tmp_path, capsys, monkeypatch, core):
    head = "prototypes" if core == "prototypes" else "memory"
    config = small("srwm" if head == "prototypes" else core, channels=3 if core == "lstm" else 1)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, head=head, stem="conv4", stem_channels=4))
    make_run(tmp_path / "run", config)
    data = images_of(config.model.image_shape[0])
    monkeypatch.setattr("srwm.cli.fewshot.load_splits", lambda name, folder: {"test": data})
    assert main(["fewshot", "figures", str(tmp_path / "run"), "--episodes", "10", "--shots", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    expected = ["learning_curves.png", "accuracy_per_shot.png"]
    if core == "srwm":
        expected += MATRIX_FIGURES
    else:
        kind = "head" if head == "prototypes" else "core"
        assert shown.pop().startswith(f"left out, since a model with {kind} '{core}' has no self-referential matrix: ")
    folder = tmp_path / "run" / "figures"
    assert shown == [str(folder / name) for name in expected]
    assert {path.name for path in folder.iterdir()} == set(expected)
    for name in expected:
        with Image.open(folder / name) as picture:
            assert min(picture.size) >= 300
            assert (folder / name).stat().st_size < 2_000_000


@pytest.mark.parametrize("core", CORES)
def test_every_core_is_traced_or_has_nothing_to_trace(core):
    torch.manual_seed(0)
    data, model = images_of(1), build_model(small(core).model).eval()
    trace = trace_episode(model, data, one_episode(data))
    assert (trace is None) == (core not in ("srwm", "sr_delta"))
    rates = mean_learning_rates(model, embed_all(model, data).detach(), one_episode(data))
    assert len(rates) == (0 if trace is None else 2)
    assert all(((values > 0) & (values < 1)).all() for values in rates.values())


@pytest.mark.parametrize("ways", [None, 2])
def test_the_curve_of_shots_is_the_evaluation_of_the_run(tmp_path, monkeypatch, ways):
    """With fewer classes than the model has ways too: they have different ones of its labels."""
    config = dataclasses.replace(small(), validation_ways=ways)
    make_run(tmp_path / "run", config)
    kept = {}
    monkeypatch.setattr("srwm.fewshot.figures.run.draw_accuracy_per_shot", lambda lines, *rest: kept.update(lines))
    figures = list(draw_figures(tmp_path / "run", images_of(1), FiguresConfig(shots=2, episodes=50, seed=7)))
    assert [path.name for path in figures] == ["learning_curves.png", "accuracy_per_shot.png", *MATRIX_FIGURES]
    tested = dataclasses.replace(validation_shape(config), k_shot=2)
    assert kept["model"][-1] == evaluate(load_best(tmp_path / "run"), images_of(1), tested, 50, 7)
    assert [len(line) for line in kept.values()] == [2, 2, 2, 2]


def test_more_shots_than_there_are_images_are_reported(tmp_path):
    make_run(tmp_path / "run", small())
    with pytest.raises(UserError, match="shots: expected at most 5, so that random has images left for queries, got 6"):
        list(draw_figures(tmp_path / "run", images_of(1), FiguresConfig(shots=6)))
