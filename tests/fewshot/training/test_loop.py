import dataclasses
import itertools
import json
import math
import re
import shutil
from contextlib import contextmanager

import pytest
import safetensors.torch
import torch

from srwm.errors import UserError
from srwm.fewshot.augment import AugmentationConfig
from srwm.fewshot.auxiliary import AuxiliaryConfig
from srwm.fewshot.build import build_sampler, validation_shape
from srwm.fewshot.episodes import EpisodeShape, PoolConfig
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import evaluate
from srwm.fewshot.figures.adaptation import draw_adaptation
from srwm.fewshot.figures.curves import draw_learning_curve
from srwm.fewshot.images import to_float
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.protocols.bootstrap import BootstrapConfig
from srwm.fewshot.protocols.delayed import DelayedConfig
from srwm.fewshot.protocols.registry import build_protocol
from srwm.fewshot.protocols.sequential import SequentialConfig
from srwm.fewshot.protocols.synchronous import Synchronous
from srwm.fewshot.report import load_best, score_run
from srwm.fewshot.training.loop import train
from srwm.nn import StackConfig
from srwm.training.chance import ChanceWatch
from srwm.training.ema import EMA
from srwm.training.metrics import read_metrics
from srwm.training.optimizer import OptimizerConfig
from srwm.training.schedule import learning_rate


def weights(folder, step):
    return safetensors.torch.load_file(folder / "checkpoints" / f"step-{step}.safetensors")


def killed_after_step(last):
    def rate(schedule, base, step, progress, d_model):
        if step > last:
            raise KeyboardInterrupt
        return learning_rate(schedule, base, step, progress, d_model)

    return rate


def test_a_run_learns_and_leaves_what_it_promises(tmp_path, config, splits):
    stack = dataclasses.replace(config.model.stack, d_model=32, num_heads=4)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, stem="none", stack=stack),
        optimizer=OptimizerConfig(lr=0.01),
        schedule="constant",
        episodes=32,
        augment=False,
        steps=300,
        log_every=10,
        validate_every=100,
    )
    assert train(config, splits, tmp_path / "run", accelerator="cpu")
    accuracy = score_run(tmp_path / "run", [splits["test"]], EvaluationConfig(300)).accuracy
    assert accuracy.mean - accuracy.interval > 0.6, "chance is a third"
    draw_learning_curve(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {
        ".lock",
        "config.json",
        "data.json",
        "metrics.csv",
        "tensorboard",
        "checkpoints",
        "best.safetensors",
        "test.json",
        "learning_curve.png",
    }
    assert names == expected
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(10, 301, 10))
    assert [row["step"] for row in rows if "val_accuracy" in row] == [100, 200, 300]
    best = evaluate(load_best(tmp_path / "run"), splits["val"], validation_shape(config), config.validation_episodes)
    assert best.mean == max(row.get("val_accuracy", 0) for row in rows)


@pytest.mark.parametrize("sampler", ["pooled", "per-episode"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_equal_configurations_give_equal_weights(tmp_path, config, splits, sampler, precision):
    config = dataclasses.replace(config, sampler=sampler, precision=precision, steps=3)
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        train(dataclasses.replace(config, seed=seed), splits, tmp_path / name, accelerator="cpu")
    one, same, other = (weights(tmp_path / name, 3) for name in ("one", "same", "other"))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["out_layer.weight"], other["out_layer.weight"])


@pytest.mark.parametrize("kind", ["neighbors", "classes"])
def test_an_auxiliary_loss_trains_along_and_resumes(tmp_path, config, splits, kind, monkeypatch):
    config = dataclasses.replace(config, auxiliary=AuxiliaryConfig(kind), steps=8)
    train(config, splits, tmp_path / "whole", accelerator="cpu")
    train(dataclasses.replace(config, auxiliary=AuxiliaryConfig()), splits, tmp_path / "without", accelerator="cpu")
    with monkeypatch.context() as patch:
        patch.setattr("srwm.fewshot.training.loop.learning_rate", killed_after_step(4))
        with pytest.raises(KeyboardInterrupt):
            train(config, splits, tmp_path / "run", accelerator="cpu")
    train(config, splits, tmp_path / "run", resume=True, accelerator="cpu")
    whole, without, resumed = (weights(tmp_path / name, 8) for name in ("whole", "without", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not torch.equal(whole["stem.layers.0.0.weight"], without["stem.layers.0.0.weight"])


PROTOCOL = {
    "delayed": {"k_shot": 4},
    "sequential": {
        "k_shot": 4,
        "second_data": "omniglot",
        "protocol_options": SequentialConfig(hint=0.5, trim=7),
        "accumulate": 2,
    },
    "bootstrap": {"protocol_options": BootstrapConfig(future=3, matching="state")},
}


@pytest.mark.parametrize("protocol", PROTOCOL)
def test_every_protocol_trains_tests_and_resumes(tmp_path, config, splits, protocol, monkeypatch):
    config = dataclasses.replace(config, protocol=protocol, steps=8, **PROTOCOL[protocol])
    second = {split: dataclasses.replace(data, name=f"second-{split}") for split, data in splits.items()}
    given = {"accelerator": "cpu", "second_splits": second if protocol == "sequential" else None}
    train(config, splits, tmp_path / "whole", **given)
    with monkeypatch.context() as patch:
        patch.setattr("srwm.fewshot.training.loop.learning_rate", killed_after_step(5))
        with pytest.raises(KeyboardInterrupt):
            train(config, splits, tmp_path / "run", **given)
    train(config, splits, tmp_path / "run", resume=True, **given)
    whole, resumed = (weights(tmp_path / name, 8) for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    rows, same = (
        [{**row, "minutes": 0, "cpu_minutes": 0} for row in read_metrics(tmp_path / name)] for name in ("whole", "run")
    )
    assert rows == same
    assert ("matching_loss" in rows[0]) == (protocol == "bootstrap")
    sets = [splits["test"], second["test"]] if protocol == "sequential" else [splits["test"]]
    accuracy = score_run(tmp_path / "run", sets, EvaluationConfig(20)).accuracy
    assert accuracy.episodes == 20
    if protocol != "bootstrap":
        draw_adaptation([tmp_path / "run", tmp_path / "run"], tmp_path / "figure.png")
        return
    with pytest.raises(UserError, match=r"adaptation\.json: no such file"):
        draw_adaptation([tmp_path / "run"], tmp_path / "figure.png")


def test_gradients_of_accumulated_batches_add_up(tmp_path, config, splits, monkeypatch):
    class Repeating:
        def __init__(self, config, data, generator):
            self.generator = generator
            self.step = build_sampler(config, Synchronous.train_shape(config), data[0], generator).sample()

        def sample(self):
            return self.step

    gradients = []
    monkeypatch.setattr(Synchronous, "sampler", Repeating)
    monkeypatch.setattr(EMA, "update", lambda self, model, step: gradients.append([p.grad.clone() for p in model.parameters()]))
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, stem_dropout=0.0),
        optimizer=dataclasses.replace(config.optimizer, clip_norm=None),
        augment=False,
        steps=1,
    )
    for name, times in (("once", 1), ("thrice", 3)):
        train(dataclasses.replace(config, accumulate=times), splits, tmp_path / name, accelerator="cpu")
    once, thrice = gradients
    assert all(torch.allclose(3 * a, b, rtol=1e-4, atol=1e-6) for a, b in zip(once, thrice, strict=True))


def test_all_but_the_last_batch_of_a_step_are_read_with_gradients_apart(tmp_path, config, splits, monkeypatch):
    """DDP decides while it reads a batch whether its gradients are joined."""
    inside, read = [], []

    @contextmanager
    def spy(fabric, learner, apart):
        inside.append(apart)
        yield
        inside.pop()

    forward = Synchronous.forward
    monkeypatch.setattr("srwm.fewshot.training.trainer.no_sync", spy)
    monkeypatch.setattr(Synchronous, "forward", lambda self, step: read.append(inside[:]) or forward(self, step))
    train(dataclasses.replace(config, accumulate=3, steps=2), splits, tmp_path / "run", accelerator="cpu")
    assert read == 2 * [[True], [True], [False]]


def test_a_finished_run_stays_as_it_is(tmp_path, config, splits):
    config = dataclasses.replace(config, steps=3)
    train(config, splits, tmp_path / "run", accelerator="cpu")
    before = (tmp_path / "run" / "metrics.csv").read_text()
    assert train(config, splits, tmp_path / "run", resume=True, accelerator="cpu")
    assert (tmp_path / "run" / "metrics.csv").read_text() == before


def lose(part):
    return lambda folder: [path.unlink() for path in (folder / "checkpoints").glob(f"*.{part}")]


@pytest.mark.parametrize("lost", [lambda folder: shutil.rmtree(folder / "checkpoints"), lose("safetensors"), lose("state.pt")])
@pytest.mark.parametrize("weights", [True, False])
def test_a_run_whose_checkpoint_is_lost_does_not_begin_anew(tmp_path, config, splits, lost, weights):
    folder = tmp_path / "run"
    train(config, splits, folder, accelerator="cpu")
    lost(folder)
    if not weights:
        (folder / "best.safetensors").unlink()
    before = (folder / "metrics.csv").read_text()
    with pytest.raises(UserError, match=r"checkpoints: expected step-N\.safetensors and step-N\.state\.pt, .* begin a new run"):
        train(config, splits, folder, resume=True, accelerator="cpu")
    assert (folder / "metrics.csv").read_text() == before


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("best", [False, True])
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew_and_says_so(tmp_path, config, splits, monkeypatch, best):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        saving, rate = "srwm.training.checkpoint.Checkpoints.save", "srwm.fewshot.training.loop.learning_rate"
        patch.setattr(*((saving, killed) if best else (rate, killed_after_step(3))))
        with pytest.raises(KeyboardInterrupt):
            train(config, splits, folder, accelerator="cpu")
    assert (folder / "best.safetensors").exists() == best
    assert read_metrics(folder)
    with pytest.warns(UserWarning, match="run was stopped before its first checkpoint and starts from the beginning"):
        assert train(config, splits, folder, resume=True, accelerator="cpu")
    train(config, splits, tmp_path / "whole", accelerator="cpu")
    assert all(torch.equal(w, weights(folder, 12)[name]) for name, w in weights(tmp_path / "whole", 12).items())


def test_episodes_of_changing_size_train_and_validate(tmp_path, config, splits):
    config = dataclasses.replace(config, min_ways=2, max_shots=2, validation_ways=2, queries=2)
    assert train(config, splits, tmp_path / "run", accelerator="cpu")
    accuracy = score_run(tmp_path / "run", [splits["test"]], EvaluationConfig(50)).accuracy
    model, shape = load_best(tmp_path / "run"), EpisodeShape(2, 1, 3, slots=3)
    assert model.config.n_way == 3
    assert accuracy == evaluate(model, splits["test"], shape, 50, seed=1)
    test = json.loads((tmp_path / "run" / "test.json").read_text())
    assert (test["n_way"], test["slots"]) == (2, 3)
    best = evaluate(model, splits["val"], shape, config.validation_episodes).mean
    assert best == max(row.get("val_accuracy", 0) for row in read_metrics(tmp_path / "run"))


def test_training_ends_when_validation_stands_still(tmp_path, config, splits):
    config = dataclasses.replace(config, optimizer=OptimizerConfig(lr=1e-12), ema_decay=None, steps=400, patience=2)
    for resume in (False, True):
        assert train(config, splits, tmp_path / "run", resume=resume, accelerator="cpu")
        rows = [row for row in read_metrics(tmp_path / "run") if "val_accuracy" in row]
        best = max(range(len(rows)), key=lambda i: rows[i]["val_accuracy"])
        assert best == len(rows) - 3
        assert rows[-1]["step"] < 400


def test_a_run_that_stands_at_chance_says_so(tmp_path, config, splits, capsys, monkeypatch):
    blind = dataclasses.replace(config, optimizer=OptimizerConfig(lr=1e-12))
    monkeypatch.setattr("srwm.fewshot.training.loop.watch_accuracy", lambda config: ChanceWatch(limit=1.5, patience=6))
    assert train(blind, splits, tmp_path / "run", accelerator="cpu")
    assert "training has been at chance for 6 steps" in capsys.readouterr().out


def test_minutes_count_over_sessions(tmp_path, config, splits):
    config = dataclasses.replace(config, steps=None, minutes=0.02)
    assert train(config, splits, tmp_path / "run", accelerator="cpu")
    last = read_metrics(tmp_path / "run")[-1]
    assert last["minutes"] >= 0.02
    assert "val_accuracy" in last
    assert train(config, splits, tmp_path / "run", resume=True, accelerator="cpu")
    assert read_metrics(tmp_path / "run")[-1] == last, "nothing is left to train"


def test_a_bfloat16_stem_leaves_the_memory_in_float32(config, splits):
    losses = []
    for kind in ("float32", "bfloat16"):
        torch.manual_seed(0)
        protocol = build_protocol(dataclasses.replace(config, precision=kind), (splits["train"],)).eval()
        step = protocol.sampler(config, (splits["train"],), torch.Generator().manual_seed(0)).sample()
        losses.append(protocol(step._replace(images=to_float(step.images))).loss)
    exact, rounded = losses
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "give --steps, --minutes or --cpu-minutes"),
        ({"steps": -1}, "steps: expected a number above 0, got -1"),
        ({"queries": 0}, "queries: expected 1 or more"),
        ({"validation_queries": 0}, "validation_queries: expected 1 or more"),
        ({"validation_episodes": 0}, "validation_episodes: expected 2 or more"),
        ({"ema_decay": 1.0}, "ema_decay: expected"),
        ({"k_shot": 9}, "need a pool of 3 classes of 10 images"),
        ({"max_shots": 9}, "need a pool of 3 classes of 10 images"),
        ({"k_shot": 2, "max_shots": 1}, "max_shots: expected k_shot = 2 or more, got 1"),
        ({"min_ways": 4}, "min_ways: expected 2 to model.n_way = 3, got 4"),
        ({"validation_ways": 1}, "validation_ways: expected 2 to model.n_way = 3, got 1"),
        ({"min_ways": 2, "sampler": "per-episode"}, "only the pooled sampler"),
        ({"validation_queries": 99}, "need 3 classes of 34 images"),
        ({"pool": PoolConfig(classes=0)}, r"pool\.classes: expected 1 or more, got 0"),
        ({"pool": PoolConfig(images_per_class=-3)}, r"pool\.images_per_class: expected 1 or more, got -3"),
        ({"model": ModelConfig(image_shape=(1, 16, 16), n_way=0)}, r"model\.n_way: expected 2 or more, got 0"),
        ({"model": ModelConfig(image_shape=(1, 16, 16), stack=StackConfig(num_heads=3))}, "num_heads: expected a divisor"),
        ({"model": ModelConfig(image_shape=(1, 16, 16), stem_channels=0)}, "stem_channels: expected 1 or more, got 0"),
        ({"precision": "bf16"}, "precision: expected .*bfloat16.*, got 'bf16'"),
        ({"sampler": "pool"}, "sampler: expected per-episode or pooled, got 'pool'"),
        ({"schedule": "cosine"}, "schedule: expected .*, got 'cosine'"),
        ({"model": ModelConfig(image_shape=(1, 16, 16), head="proto")}, r"model\.head: expected .*, got 'proto'"),
        (
            {"protocol": "bootstrap", "protocol_options": BootstrapConfig(matching="states")},
            r"protocol_options\.matching: expected .*, got 'states'",
        ),
        ({"optimizer": {"lr": 0.1}}, r"optimizer: expected OptimizerConfig, got \{'lr': 0.1\}"),
        ({"model": StackConfig()}, "model: expected ModelConfig, got StackConfig"),
        ({"steps": 1.5}, "steps: expected int or None, got 1.5"),
        ({"minutes": math.nan}, "minutes: expected a number, got nan"),
        ({"auxiliary": AuxiliaryConfig(weight=math.nan)}, r"auxiliary\.weight: expected a number, got nan"),
        (
            {"protocol_options": DelayedConfig(hint=0.5)},
            r"protocol_options: expected ProtocolOptions with protocol 'synchronous', got DelayedConfig",
        ),
        ({"pool": PoolConfig(rotated=1.5)}, r"pool\.rotated: expected a number from 0 to 1, got 1.5"),
        ({"seed": 2**70}, r"seed: expected a number from 0 below 2\*\*63"),
        ({"optimizer": OptimizerConfig(lr=-1)}, r"optimizer\.lr: expected a number above 0"),
        ({"optimizer": OptimizerConfig(lr=0)}, r"optimizer\.lr: expected a number above 0"),
        ({"optimizer": OptimizerConfig(beta1=2)}, "optimizer: Invalid beta"),
        ({"optimizer": OptimizerConfig(weight_decay=-1)}, r"optimizer\.weight_decay: expected 0 or more, got -1"),
        ({"optimizer": OptimizerConfig(clip_norm=0)}, r"optimizer\.clip_norm: expected a number above 0"),
        ({"auxiliary": AuxiliaryConfig(weight=-1)}, r"auxiliary\.weight: expected 0 or more, got -1"),
        ({"auxiliary": AuxiliaryConfig(temperature=0)}, r"auxiliary\.temperature: expected a number above 0, got 0"),
        ({"augmentation": AugmentationConfig(degrees=-5)}, r"augmentation\.degrees: expected 0 or more, got -5"),
        (
            {"augmentation": AugmentationConfig(scale=3)},
            r"augmentation\.scale: expected a number from 0 below 1, got 3",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_before_a_folder_is_made(tmp_path, config, splits, changes, message):
    with pytest.raises(UserError, match=message):
        train(dataclasses.replace(config, **changes), splits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, config, splits):
    config = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, lr=1e30, clip_norm=None), schedule="constant"
    )
    with pytest.raises(UserError, match=r"the loss is not finite at step .*in another --run"):
        train(config, splits, tmp_path / "run", accelerator="cpu")


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_the_run_before_the_weights_change(
    tmp_path, config, splits, monkeypatch, clip_norm, number
):
    """The loss is finite all along, as where the backward pass overflows."""
    optimizer = dataclasses.replace(config.optimizer, clip_norm=clip_norm)
    config = dataclasses.replace(config, optimizer=optimizer, schedule="constant")
    train(dataclasses.replace(config, steps=4), splits, tmp_path / "good", accelerator="cpu")
    gradients = itertools.count(1)

    def overflowing(config, data):
        protocol = build_protocol(config, data)
        protocol.model.out_layer.bias.register_hook(lambda grad: grad * number if next(gradients) >= 8 else grad)
        return protocol

    monkeypatch.setattr("srwm.fewshot.training.loop.build_protocol", overflowing)
    with pytest.raises(UserError, match="the norm of the gradient is not finite at step 8; try a smaller"):
        train(config, splits, tmp_path / "run", accelerator="cpu")
    kept, good = weights(tmp_path / "run", 4), weights(tmp_path / "good", 4)
    assert all(torch.equal(kept[name], good[name]) for name in good)


def rewrite_state(folder, step, change):
    """Edit the state of a checkpoint by hand, and take the digests away, as in the versions before."""
    path = folder / "checkpoints" / f"step-{step}"
    state = change(torch.load(f"{path}.state.pt", weights_only=True))
    safetensors.torch.save_file(safetensors.torch.load_file(f"{path}.safetensors"), f"{path}.safetensors")
    torch.save(state, f"{path}.state.pt")


def inside(*names, value):
    """A change of one value in nested dicts and lists; `value` may be a function of the one that is there."""

    def change(state, names=names):
        if not names:
            return value(state) if callable(value) else value
        copy = dict(state) if isinstance(state, dict) else list(state)
        copy[names[0]] = change(copy[names[0]], names[1:])
        return copy

    return change


@pytest.fixture(scope="module")
def four_steps(tmp_path_factory, splits):
    """A configuration with an auxiliary loss, and the folder of a run of four steps."""

    def make(config):
        config = dataclasses.replace(config, steps=4, auxiliary=AuxiliaryConfig("classes"))
        if not made:
            made.append(tmp_path_factory.mktemp("runs") / "run")
            train(config, splits, made[0], accelerator="cpu")
        return config, made[0]

    made = []
    return make


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"progress": {"step": 4}},
        lambda state: {"progress": {"paces": 4}},
        lambda state: [1, 2],
        lambda state: torch.zeros(3),
        inside("progress", value=torch.zeros(3)),
        inside("progress", "step", value="4"),
        inside("progress", "step", value=math.inf),
        inside("progress", "sums", value={"unheard": 1.0}),
        inside("seeds", value="seeds"),
        inside("seeds", value=torch.zeros(3)),
        inside("ema", value=None),
        inside("ema", value={}),
        inside("auxiliary_modules", value=[]),
        inside("optimizer", "param_groups", 0, "betas", value="0.9"),
        inside("optimizer", "param_groups", 0, "betas", value=(0.9, "0.9")),
        inside("optimizer", "param_groups", 0, "params", value=[0]),
        inside("optimizer", "state", 0, "exp_avg", value=lambda average: average[:1]),
        inside("optimizer", "state", 0, "exp_avg", value=lambda average: average.double()),
        inside("optimizer", "state", 0, "step", value="4"),
        inside("optimizer", "state", 0, value={}),
    ],
)
def test_a_checkpoint_without_the_state_of_such_a_run_is_refused(tmp_path, config, splits, four_steps, change):
    config, folder = four_steps(config)
    shutil.copytree(folder, tmp_path / "run")
    rewrite_state(tmp_path / "run", 4, change)
    with pytest.raises(UserError, match="checkpoints: not the state of such a run"):
        train(config, splits, tmp_path / "run", resume=True, accelerator="cpu")


def test_a_checkpoint_of_the_version_before_continues(tmp_path, config, splits, monkeypatch):
    """Parts of the state and of the progress had other names, and there were no digests."""

    def earlier(state):
        progress = dict(state["progress"])
        progress["stale"] = progress.pop("validations_since_best")
        del progress["frames"]
        names = {"ema": "average", "auxiliary_modules": "aids"}
        return {names.get(name, name): value for name, value in (state | {"progress": progress}).items()}

    config = dataclasses.replace(config, steps=8, auxiliary=AuxiliaryConfig("classes"))
    train(config, splits, tmp_path / "whole", accelerator="cpu")
    with monkeypatch.context() as patch:
        patch.setattr("srwm.fewshot.training.loop.learning_rate", killed_after_step(5))
        with pytest.raises(KeyboardInterrupt):
            train(config, splits, tmp_path / "run", accelerator="cpu")
    rewrite_state(tmp_path / "run", 4, earlier)
    assert train(config, splits, tmp_path / "run", resume=True, accelerator="cpu")
    whole, resumed = (weights(tmp_path / name, 8) for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_reports_its_start_and_its_validations(tmp_path, config, splits, capsys):
    assert train(config, splits, tmp_path / "run", accelerator="cpu")
    start, *lines = capsys.readouterr().out.splitlines()
    parts = ("device cpu, 1 thread, train (200 classes, 1,200 images), ", " parameters, budget 12 steps")
    assert all(part in start for part in (f"training in {tmp_path / 'run'}: ", *parts))
    assert [line.split(",")[0] for line in lines] == ["step 4", "step 8", "step 12"]
    assert all(re.search(r"episodes/s: loss \d\.\d{3}, accuracy .* %, validation .* ± .* %$", line) for line in lines)
