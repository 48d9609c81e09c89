"""ONNX files: whole episodes in onnxruntime beside PyTorch."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from srwm import load_model, samples
from srwm.cli import main
from srwm.errors import UserError
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.interop.onnx_export import export_onnx
from srwm.learner.image_files import labeled_files
from srwm.learner.images import read_images
from srwm.nn import StackConfig

STACK = {"d_model": 16, "num_heads": 2, "num_layers": 2, "ff_factor": 2}
PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed",
)


def difference(model: EpisodeModel, path: Path, images: torch.Tensor, labels: list[int], questions: torch.Tensor) -> float:
    """The largest difference of probabilities between onnxruntime and PyTorch after a whole episode."""
    import onnxruntime

    export_onnx(model, path)
    session = onnxruntime.InferenceSession(str(path))
    state = {part.name: np.zeros(part.shape, TYPES[part.type]) for part in session.get_inputs()[2:]}
    given = torch.tensor(labels)
    for i, image in enumerate(images):
        _, *after = session.run(None, {"image": image[None].numpy(), "label": given[i : i + 1].numpy(), **state})
        state = dict(zip(state, after, strict=True))
    inputs = [{"image": image[None].numpy(), "label": np.zeros(1, np.int64), **state} for image in questions]
    found = torch.cat([torch.from_numpy(session.run(["logits"], each)[0]) for each in inputs])
    with torch.no_grad():
        learned = model.learn_features(model.embed(images)[None], given[None])
        expected = model.query_features(model.embed(questions)[None], learned)[0]
    assert expected.std() > 1e-6
    return float((found.softmax(-1) - expected.softmax(-1)).abs().max())


@needs_onnx
def test_an_episode_of_the_bundled_model(tmp_path) -> None:
    model = load_model()
    (files, names), (asked, _) = labeled_files(samples.EXAMPLES), labeled_files(samples.QUESTIONS)
    images, questions = (read_images(paths, model.config, "ink")[0] for paths in (files, asked))
    assert difference(model, tmp_path / "m.onnx", images, [sorted(set(names)).index(n) for n in names], questions) < 1e-5


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"stack": StackConfig("deltanet", **STACK)},
        {"stack": StackConfig("sr_delta", **STACK)},
        {"stack": StackConfig("recurrent_delta", **STACK)},
        {"stack": StackConfig("linear_transformer", **STACK)},
        {"stack": StackConfig(carry="unroll", unroll_length=3, **STACK)},
        {"head": "prototypes"},
        {"head": "residual", "class_means": "learned", "input": "codes"},
        {"input": "paper"},
        {"stem": "resnet12", "stem_channels": (8, 8, 8, 8), "image_shape": (3, 32, 32)},
        {"stem": "none", "image_shape": (9,)},
    ],
    ids=str,
)
def test_episodes_of_other_models(tmp_path, changes) -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{"stem_channels": 8, "n_way": 4, "stack": StackConfig(**STACK), **changes})).eval()
    images = torch.rand(12, *model.config.image_shape)
    assert difference(model, tmp_path / "m.onnx", images[:8], [0, 1, 2, 3] * 2, images[8:]) < 1e-5


@needs_onnx
def test_a_model_that_cannot_be_exported_is_refused_and_nothing_written(tmp_path) -> None:
    model = build_model(ModelConfig(stem_channels=8, stack=StackConfig("lstm", d_model=16, num_layers=1))).eval()
    with pytest.raises(UserError, match="a model with the core 'lstm' cannot be exported to ONNX"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@needs_onnx
@pytest.mark.slow
def test_the_page_runs_without_pytorch(tmp_path) -> None:
    assert main(["export", "characters", "--onnx", str(tmp_path / "characters.onnx")]) == 0
    for folder in (samples.EXAMPLES, samples.QUESTIONS):
        (tmp_path / folder.name).symlink_to(folder)
    (code,) = re.findall(r"^```python needs-onnx\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert 25 <= len(code.splitlines()) <= 35
    blocked = 'import sys; sys.modules.update(dict.fromkeys(["torch", "srwm"]))\n' + code
    shown = subprocess.run([sys.executable, "-c", blocked], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    answers = [line.split() for line in shown.splitlines()]
    assert len(answers) == 10
    assert [Path(path).parent.name for path, _ in answers] == [label for _, label in answers]


@needs_onnx
def test_the_head_of_a_file_is_chosen(tmp_path) -> None:
    import onnxruntime

    states = {}
    for head in ("auto", "prototypes", "memory"):
        assert main(["export", "characters", "--head", head, "--onnx", str(tmp_path / f"{head}.onnx")]) == 0
        session = onnxruntime.InferenceSession(str(tmp_path / f"{head}.onnx"))
        states[head] = [part.shape for part in session.get_inputs()[2:]]
    features = load_model().num_features
    assert states["auto"] == states["prototypes"] == [[1, 20, features], [1, 20]]
    assert len(states["memory"][0]) == 4


def test_mistakes_are_one_line(tmp_path, capsys) -> None:
    assert main(["export", "characters", "--onnx", str(tmp_path / "x" / "m.onnx")]) == 1
    assert "x: there is no such folder" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "nothing"), "--onnx", str(tmp_path / "m.onnx")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
