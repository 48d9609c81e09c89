"""PyTorch's process-wide defaults for new tensors change nothing: each is tried in a process of its own."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import srwm

PROGRAM = """
import hashlib, json, sys, tempfile
from dataclasses import replace
from pathlib import Path
import torch
DEFAULT = sys.argv[1]
if DEFAULT == "float64":
    torch.set_default_dtype(torch.float64)
elif DEFAULT:
    torch.set_default_device(DEFAULT)
import numpy as np
from srwm import FewShotLearner, load_model
from srwm.data import ImageClasses
from srwm.data.drawings.glyphs import GlyphDrawer
from srwm.fewshot.augment import AugmentationConfig, augment
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.auxiliary import AuxiliaryConfig
from srwm.fewshot.episodes import EpisodeSampler, EpisodeShape, PoolConfig, PooledSampler
from srwm.fewshot.evaluation.baselines import evaluate_baselines
from srwm.fewshot.evaluation.evaluate import evaluate
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.protocols.bootstrap import BootstrapConfig
from srwm.fewshot.training.loop import train
from srwm.nn import StackConfig
from srwm.rl import train as rl
from srwm.rl.agent import AgentConfig
from srwm.rl.chance import measure_chance
from srwm.rl.config import TrainConfig as RLConfig
from srwm.rl.envs import EnvConfig, build_env
from srwm.rl.evaluate import play
from srwm.rl.record import record
from srwm.rl.report import load_agent
from srwm.nn import leaves
from srwm.training.runs import BEST
from srwm.training.weights import read_weights

STACK = StackConfig(d_model=16, num_heads=2, num_layers=1)
CONFIG = ModelConfig((1, 16, 16), 3, stem_channels=4, stem_dropout=0.1, stack=STACK)


def digest(*values):
    kept = hashlib.sha256()
    for value in (part for value in values for part in (value if isinstance(value, tuple) else (value,))):
        if isinstance(value, torch.Tensor):
            value = (str(value.dtype), str(value.device), value.detach().contiguous().flatten().view(torch.uint8).tolist())
        kept.update(repr(value.tolist() if isinstance(value, np.ndarray) else value).encode())
    return kept.hexdigest()


def seeded():
    return torch.Generator().manual_seed(3)


def data(name, classes, seed):
    images = np.random.default_rng(seed).integers(0, 256, (classes, 6, 1, 16, 16)).astype(np.uint8)
    return ImageClasses.from_groups(name, list(images), [str(c) for c in range(classes)])


def loaded():
    return digest(*load_model().state_dict().items())


def learned():
    images = GlyphDrawer().draw("val", 1, 1).images[:4, 0]
    learner = FewShotLearner.from_pretrained(tta_passes=3, head="residual").learn(images, list("abca"))
    return digest(learner.learn(images[1], "c").predict_proba(images), *leaves(learner.state_))


def drawn():
    drawer = GlyphDrawer()
    return digest(drawer.draw("val", 3, 1).images, drawer.printed("test").images)


def sampled():
    shape, images, found = EpisodeShape(3, 2, 3, slots=4), data("a", 8, 0), []
    pool = PoolConfig(classes=6, images_per_class=6, rotated=0.5)
    pooled = PooledSampler(images, shape, 4, seeded(), pool, min_ways=2, max_shots=2)
    for sampler in (EpisodeSampler(images, shape, 4, seeded()), pooled):
        step = sampler.sample()
        found += [step.images, step.classes, *step.episodes]
    return digest(*found)


def augmented():
    config = AugmentationConfig(degrees=10, scale=0.1, shear=0.1, translate=0.1, elastic=0.1, hflip=True, stroke=1, color=0.2)
    images = torch.rand(5, 3, 16, 16, generator=seeded(), dtype=torch.float32, device="cpu")
    return digest(augment(images, config, seeded()))


def evaluated():
    torch.manual_seed(0)
    model, images, shape = build_model(CONFIG), data("a", 8, 0), EpisodeShape(3, 2, 3)
    return digest(evaluate(model, images, shape, 20, tta_passes=3), evaluate_baselines(model, images, shape, 20))


def trained(**changes):
    splits = {"train": data("a", 8, 0), "val": data("b", 4, 1), "test": data("c", 4, 2)}
    config = TrainConfig(
        data="glyphs", model=CONFIG, queries=3, episodes=4, pool=PoolConfig(classes=6, images_per_class=6), augment=True,
        steps=2, validate_every=2, validation_episodes=10, validation_queries=3, ema_decay=0.9,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(replace(config, **changes), splits, Path(folder) / "run", accelerator="cpu")
        return digest(*read_weights(Path(folder) / "run" / BEST).items())


def trained_by(protocol):
    if protocol == "bootstrap":
        return trained(protocol=protocol, protocol_options=BootstrapConfig(future=3))
    if protocol == "prototypes":
        return trained(model=replace(CONFIG, head="prototypes"), auxiliary=AuxiliaryConfig("classes"))
    return trained(protocol=protocol, auxiliary=AuxiliaryConfig("classes" if protocol == "synchronous" else "neighbors"))


def acted_by(algorithm):
    config = RLConfig(
        algorithm=algorithm, env=EnvConfig(kind="gymnasium", names=("CartPole-v1",), num_envs=4, workers=0),
        agent=AgentConfig(features=8, stack=STACK), unroll_length=5, batch_size=4, frames=60,
    )
    with tempfile.TemporaryDirectory() as folder, build_env(config.env, 0) as env:
        run = Path(folder) / "run"
        rl.train(config, env, run, accelerator="cpu", measure_chance=lambda: measure_chance(config.env, 0))
        agent = load_agent(run, env.spec)
        returns, film = play(agent, env, 4, greedy=False), record(agent, env, greedy=False)
        return digest(*read_weights(run / rl.WEIGHTS).items(), *returns["CartPole-v1"], *film.actions, *film.values)


CASES = {case.__name__: case for case in (loaded, learned, drawn, sampled, augmented, evaluated)}
for name in ("synchronous", "delayed", "bootstrap", "prototypes"):
    CASES[name] = lambda name=name: trained_by(name)
for name in ("impala", "ppo"):
    CASES[name] = lambda name=name: acted_by(name)
results = {}
for name, case in CASES.items():
    try:
        results[name] = case()
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"
print(json.dumps(results))
"""
CASES = (
    *("loaded", "learned", "drawn", "sampled", "augmented", "evaluated"),
    *("synchronous", "delayed", "bootstrap", "prototypes", "impala", "ppo"),
)
OF_ANY_DTYPE = {"arange", "randint", "randperm"}
FACTORIES = OF_ANY_DTYPE | {
    "empty",
    "eye",
    "full",
    "linspace",
    "logspace",
    "normal",
    "ones",
    "rand",
    "randn",
    "tensor",
    "zeros",
}


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, str]]:
    """What each default gives, by case."""
    found = {}
    for default in ("", "float64", "meta"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, default], capture_output=True, text=True, check=True)
        found[default] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow  # together, since each case is a process
@pytest.mark.parametrize("default", ["float64", "meta"])
@pytest.mark.parametrize("case", CASES)
def test_defaults_of_the_process_change_nothing(results, case, default) -> None:
    assert len(results[""][case]) == 64, results[""][case]
    assert results[default][case] == results[""][case]


def test_tensors_are_made_with_dtype_and_device() -> None:
    """All but the parameters of layers, which follow PyTorch's defaults, as those of its modules do."""
    root = Path(srwm.__file__).parent
    missing = []
    for path in sorted(root.rglob("*.py")):
        calls = [call for call in ast.walk(ast.parse(path.read_text())) if isinstance(call, ast.Call)]
        parameters = [call.args[0] for call in calls if ast.unparse(call.func) == "nn.Parameter"]
        for call in calls:
            if call in parameters or not isinstance(call.func, ast.Attribute):
                continue
            if ast.unparse(call.func.value) != "torch" or call.func.attr not in FACTORIES:
                continue
            wanted = {"device"} if call.func.attr in OF_ANY_DTYPE else {"dtype", "device"}
            if not wanted <= {keyword.arg for keyword in call.keywords}:
                missing.append(f"{path.relative_to(root)}:{call.lineno}: {ast.unparse(call)}")
    assert missing == []
