"""Models as others get them: a folder with `config.json`, `model.safetensors` and a model card, or the same on the Hub."""

import json
import warnings
from dataclasses import asdict
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

import torch

from srwm.data.splits import CENTERED
from srwm.errors import UserError
from srwm.fewshot.build import build_model
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.sequence import FewShotModel, ModelConfig
from srwm.files import write_atomically
from srwm.training.configuration import config_from_dict
from srwm.training.runs import BEST, write_json
from srwm.training.weights import read_weights, save_weights

if TYPE_CHECKING:
    from types import ModuleType

Precision = Literal["float32", "float16", "bfloat16"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
DEFAULT = "characters"
_FORMAT = 1


class HubOptions(TypedDict, total=False):
    """What reading from the Hugging Face Hub takes, as `huggingface_hub.hf_hub_download` does."""

    revision: str | None
    token: str | bool | None
    cache_dir: str | Path | None
    force_download: bool
    local_files_only: bool


def packaged() -> dict[str, Path]:
    """The checkpoints that came with this package: name -> folder."""
    folder = Path(str(files("srwm.learner"))) / "checkpoints"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG}"))}


def save(model: FewShotModel, folder: Path, dtype: Precision) -> None:
    """Write a model with its metadata; see `FewShotModel.save_pretrained`."""
    rounded = _dtype(dtype)
    if (folder / CONFIG).exists() and "format" not in _read_content(folder):
        raise UserError(f"{folder}: holds the {CONFIG} of a run or of another program; name another folder")
    with_card = _may_write_card(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / WEIGHTS, model, {"format": _FORMAT}, rounded)
        write_json(folder / CONFIG, {"format": _FORMAT, "model": asdict(model.config), "metadata": asdict(model.metadata)})
        if with_card:
            write_atomically(folder / CARD, _card(model).encode())
        else:
            warnings.warn(f"{folder / CARD} stays as it is: it is no model card as srwm writes it", stacklevel=3)
    except OSError as error:
        raise UserError(f"cannot save {folder}: {error.strerror or error}") from error


def load(name: str | Path, **hub: Unpack[HubOptions]) -> FewShotModel:
    """Find and read a model; see `FewShotModel.from_pretrained`."""
    if unknown := hub.keys() - HubOptions.__annotations__.keys():
        raise TypeError(f"{', '.join(sorted(unknown))}: expected options of the Hub, {', '.join(HubOptions.__annotations__)}")
    if not isinstance(name, str | Path):
        raise TypeError(f"name: expected the name of a checkpoint or a folder, got {name!r}")
    folder = packaged().get(name, Path(name)) if isinstance(name, str) else name
    if folder.exists():
        return load_folder(folder)
    parts = str(name).split("/")
    if isinstance(name, Path) or len(parts) != 2 or not all(part.strip(".~") for part in parts):
        names = ", ".join(packaged()) or "none in this installation"
        raise UserError(f"{name}: no such folder, and no checkpoint of the package (there are: {names})")
    model: FewShotModel = _hub().HubModel.load(str(name), **hub)
    return model


def push(model: FewShotModel, repo_id: str, dtype: Precision, **options: Any) -> str:
    """Upload a model; see `FewShotModel.push_to_hub`."""
    _dtype(dtype)
    return str(_hub().HubModel(model, dtype).store(repo_id, **options))


def load_folder(folder: Path) -> FewShotModel:
    """The model of a folder that `save` wrote, or of a training run, in evaluation mode and float32 on the CPU.

    Raises UserError where it is neither, or its files are of another version, corrupt, or do not fit each other.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with {CONFIG} and {WEIGHTS}, got a file")
    config, metadata, weights = _read_config(folder)
    tensors = read_weights(folder / weights)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{folder / weights}: {name} holds NaN or infinity")
    try:
        with torch.random.fork_rng(devices=[]):  # random numbers that the weights of the file replace
            model = build_model(config)
        model.load_state_dict(tensors)
    except (UserError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise UserError(f"{folder}: weights and configuration do not fit ({error})") from error
    if not isinstance(model, FewShotModel):
        raise UserError(f"{folder}: a model with head {config.head!r} has no memory to hold in hand")
    model.metadata = metadata
    return model.eval()


def _dtype(name: Precision) -> torch.dtype:
    if name not in get_args(Precision):
        raise ValueError(f"dtype: expected {', '.join(get_args(Precision))}, got {name!r}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _read_content(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: holds no {CONFIG}, so it is neither a checkpoint nor a run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration of a few-shot model")
    return content


def _read_config(folder: Path) -> tuple[ModelConfig, ModelMetadata, str]:
    path, content = folder / CONFIG, _read_content(folder)
    if not isinstance(content.get("model"), dict):
        raise UserError(f"{path}: not a configuration of a few-shot model")
    of_run = "format" not in content
    if not of_run and content["format"] != _FORMAT:
        raise UserError(f"{path}: expected format {_FORMAT}, got {content['format']!r}; another version of srwm wrote it")
    if of_run and content.get("normalize"):
        raise UserError(
            f"{folder}: trained on normalized images, which a model in hand does not make of those that it is given"
        )
    data = str(content.get("data", ""))
    of_data = {"trained_on": data, "preprocess": "ink" if data in CENTERED else "none"}
    given = of_data if of_run else content.get("metadata", content.get("facts", {}))
    try:
        config, metadata = config_from_dict(ModelConfig, content["model"]), config_from_dict(ModelMetadata, given)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a configuration of this version ({error})") from error
    return config, metadata, BEST if of_run else WEIGHTS


def _card(model: FewShotModel) -> str:
    config, metadata = model.config, model.metadata
    numbers = sum(parameter.numel() for parameter in model.parameters())
    results = "".join(f"\n- {what}: {came_out}" for what, came_out in metadata.results.items())
    return _sealed(f"""---
library_name: srwm
tags:
- few-shot-learning
- meta-learning
- fast-weights
- self-referential-weight-matrix
---

# A few-shot learner

It learns classes from labeled images that it is shown, up to {config.n_way} of them, without a gradient step: what it
learns is what its memory writes into itself. The memory is {config.stack.core}, {config.stack.num_layers} blocks of width
{config.stack.d_model}.

- Images: {config.image_shape}, stem {config.stem}; preprocessing: {metadata.preprocess}
- Parameters: {numbers:,}
- Trained on: {metadata.trained_on or "not told"}{results}

```python
from srwm import FewShotLearner

learner = FewShotLearner.from_pretrained("FOLDER OR HUB NAME OF THIS MODEL")
learner.learn(images, labels)
learner.predict(more_images)
```

""")


def _may_write_card(folder: Path) -> bool:
    """Whether no page is there, or a card that was written here and not changed since, as its last line tells."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return text == _sealed(text[: text.rfind("<!--")])


def _sealed(text: str) -> str:
    """With a last line, not shown, that holds only for this text."""
    return f"{text}<!-- written by srwm, {blake2b(text.encode(), digest_size=8).hexdigest()} -->\n"


def _hub() -> "ModuleType":
    try:
        from srwm.learner import hub
    except ModuleNotFoundError as error:
        raise UserError("the Hugging Face Hub needs huggingface_hub: pip install 'srwm[hub]'") from error
    return hub
