"""Models on the Hugging Face Hub; the one module that imports `huggingface_hub`."""

from pathlib import Path
from typing import Any, Self, Unpack

from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HFValidationError

from srwm.errors import UserError
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner import pretrained


class HubModel(ModelHubMixin):
    """What the mixin of `huggingface_hub` uploads and downloads: a few-shot model and the precision of its stored weights."""

    def __init__(self, learner: FewShotModel, dtype: pretrained.Precision = "float32") -> None:
        self.learner = learner
        self.dtype = dtype

    @classmethod
    def load(cls, name: str, **options: Unpack[pretrained.HubOptions]) -> FewShotModel:
        """The model of a Hub repository. Raises UserError where it cannot be had or is no checkpoint of this package."""
        try:
            found = cls.from_pretrained(name, **options)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{name}: no such folder, and not to be had from the Hugging Face Hub ({_first_line(error)})"
            ) from error
        return found.learner

    def store(self, name: str, **options: Any) -> str:
        """Upload to a Hub repository, and return the commit's address. Raises UserError where it does not take it."""
        try:
            return str(self.push_to_hub(name, **options))
        except (OSError, HFValidationError) as error:
            raise UserError(f"{name}: the Hugging Face Hub does not take it ({_first_line(error)})") from error

    def _save_pretrained(self, save_directory: Path) -> None:
        pretrained.save(self.learner, save_directory, self.dtype)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        parts = [hf_hub_download(model_id, name, **options) for name in (pretrained.CONFIG, pretrained.WEIGHTS)]
        return cls(pretrained.load_folder(Path(parts[0]).parent))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
