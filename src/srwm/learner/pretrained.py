"""Loading, saving and publishing models: bundled checkpoints, folders and the Hugging Face Hub."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

from srwm.errors import UserError
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.kinds import FEW_SHOT, STREAMS, M, ModelKind
from srwm.learner.model_folder import CONFIG, WEIGHTS, Precision, check_precision, read_folder, write_folder
from srwm.streams.model import StreamModel

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")

DEFAULT = "characters"
DEFAULT_STREAMS = "streams"


class HubOptions(TypedDict, total=False):
    """Options for downloads from the Hugging Face Hub, as in `huggingface_hub.hf_hub_download`."""

    revision: str | None
    token: str | bool | None
    cache_dir: str | Path | None
    force_download: bool
    local_files_only: bool


def packaged() -> dict[str, Path]:
    """The checkpoints that are bundled with this package: folders by name.

    Returns:
        The folders by name.
    """
    folder = Path(str(files("srwm.learner"))) / "checkpoints"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG}"))}


def load_model(name: str | Path = DEFAULT, **hub: Unpack[HubOptions]) -> FewShotModel:
    """Load a few-shot model. No code from its files is executed.

    Args:
        name: The name of a bundled checkpoint; else a folder that `save_model` wrote, or a run folder of `srwm fewshot train`
            (its best weights); else a repository of the Hugging Face Hub, `user/name`, which needs `srwm[hub]` and a network.
            A `Path` is always a folder.
        **hub: Options for the Hub: revision, token, cache_dir, force_download and local_files_only.

    Returns:
        The model in evaluation mode, float32, on the CPU.

    Raises:
        UserError: There is no such model, or it is corrupt, of another kind, or from another version.
        TypeError: An option is unknown, or the name is neither a string nor a path.
    """
    return _load(name, FEW_SHOT, hub)


def load_stream_model(name: str | Path = DEFAULT_STREAMS, **hub: Unpack[HubOptions]) -> StreamModel:
    """Load a model of streams, as `load_model` loads a few-shot model.

    Args:
        name: As in `load_model`; run folders are those of `srwm streams train`.
        **hub: As in `load_model`.

    Returns:
        The model in evaluation mode, float32, on the CPU.

    Raises:
        UserError: As `load_model`.
        TypeError: As `load_model`.
    """
    return _load(name, STREAMS, hub)


def save_model(
    model: FewShotModel | StreamModel, folder: str | Path, *, dtype: Precision = "float32", overwrite_card: bool = False
) -> None:
    """Write a model, few-shot or of streams, to a folder: `config.json`, `model.safetensors` and a model card, README.md.

    Args:
        model: The model. Its `metadata` is saved too.
        folder: Where the files go; made where it is missing.
        dtype: The dtype in which parameters are stored, float32, float16 or bfloat16; buffers keep theirs.
        overwrite_card: Replace an existing README.md. Otherwise it is kept, and a warning says so if it differs.

    Raises:
        UserError: The folder cannot be written, or it is a run folder.
        ValueError: `dtype` is unknown, or weights are out of its range.
    """
    write_folder(model, Path(folder), dtype, overwrite_card)


def push_model(
    model: FewShotModel | StreamModel,
    repo_id: str,
    *,
    dtype: Precision = "float32",
    private: bool | None = None,
    token: str | bool | None = None,
    branch: str | None = None,
    commit_message: str = "Upload a model of srwm",
    create_pr: bool | None = None,
) -> str:
    """Upload a model, few-shot or of streams, to the Hugging Face Hub.

    The files of `save_model` replace those in the repository, README.md included.

    Args:
        model: The model. Its `metadata` is uploaded too.
        repo_id: The repository, `user/name`; made where it is missing.
        dtype: The dtype in which parameters are stored.
        private: Whether a new repository is private; None: the owner's default.
        token: The access token; None: the stored login.
        branch: The branch; None: main.
        commit_message: The message of the commit.
        create_pr: Whether to open a pull request instead of a commit on the branch.

    Returns:
        The URL of the commit.

    Raises:
        UserError: `srwm[hub]` is not installed, or the upload fails.
        ValueError: `dtype` is unknown, or weights are out of its range.
    """
    check_precision(dtype)
    api = _hub().HfApi(token=token)
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        write_folder(model, folder, dtype)

        def upload() -> str:
            name = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
            options = {"commit_message": commit_message, "revision": branch, "create_pr": create_pr}
            return str(api.upload_folder(repo_id=name, folder_path=folder, **options))

        return _request(upload, f"{repo_id}: the upload to the Hugging Face Hub failed")


def _load(name: str | Path, kind: ModelKind[M], hub: HubOptions) -> M:
    if unknown := hub.keys() - HubOptions.__annotations__.keys():
        raise TypeError(f"{', '.join(sorted(unknown))}: expected options of the Hub, {', '.join(HubOptions.__annotations__)}")
    if not isinstance(name, str | Path):
        raise TypeError(f"name: expected the name of a checkpoint or a folder, got {name!r}")
    folder = packaged().get(name, Path(name)) if isinstance(name, str) else name
    if folder.exists():
        return read_folder(folder, kind)
    parts = str(name).split("/")
    if isinstance(name, Path) or len(parts) != 2 or not all(part.strip(".~") for part in parts):
        names = ", ".join(packaged()) or "none in this installation"
        raise UserError(f"{name}: no such folder or bundled checkpoint (bundled: {names})")
    return read_folder(_downloaded(str(name), hub), kind)


def _downloaded(name: str, options: HubOptions) -> Path:
    download = _hub().hf_hub_download

    def fetch() -> list[Path]:
        return [Path(download(name, part, **options)) for part in (CONFIG, WEIGHTS)]

    found = _request(fetch, f"{name}: no such folder, and the Hugging Face Hub does not provide it")
    return found[0].parent


def _request(request: Callable[[], T], failure: str) -> T:
    """The result of a request to the Hub. Every error, also on unexpected replies, becomes a UserError."""
    try:
        return request()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{failure} ({reason})") from error


def _hub() -> "ModuleType":
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise UserError("the Hugging Face Hub needs huggingface_hub: pip install 'srwm[hub]'") from error
    return huggingface_hub
