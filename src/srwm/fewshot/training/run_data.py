"""The fingerprint of a run's data, saved in its folder, so that a run is not resumed or tested on other data by mistake."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from srwm.data import ImageClasses, Split
from srwm.errors import UserError
from srwm.fewshot.protocols.base import Sets
from srwm.files import check_regular
from srwm.training.runs import write_json

_FILE = "data.json"


def save_fingerprint(folder: Path, data: Mapping[Split, Sets]) -> None:
    """Save the classes and numbers of images of each split in a run folder; if they are saved already, check them.

    Args:
        folder: the run folder.
        data: the data sets by split.

    Raises:
        UserError: as `check_fingerprint`.
    """
    if (folder / _FILE).exists():
        check_fingerprint(folder, data)
    else:
        write_json(folder / _FILE, {split: list(map(_fingerprint, sets)) for split, sets in data.items()})


def check_fingerprint(folder: Path, data: Mapping[Split, Sets]) -> None:
    """Check that the data is the same as at the beginning of the run. Runs of earlier versions have no fingerprint, and pass.

    Args:
        folder: the run folder.
        data: the data sets by split.

    Raises:
        UserError: a split has other classes or other numbers of images.
    """
    try:
        check_regular(folder / _FILE)
        kept = json.loads((folder / _FILE).read_text())
        found = {split: list(map(_fingerprint, sets)) for split, sets in data.items()}
        differing = [
            (_format_sets(kept[split]), _format_sets(found[split]), split) for split in data if kept[split] != found[split]
        ]
    except FileNotFoundError:
        return
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder / _FILE}: not readable ({error})") from error
    for was, now, split in differing:
        raise UserError(
            f"{folder} was begun with other data: the {split} split was {was}, and is {now}; "
            "give the folder of the original data"
        )


def _fingerprint(data: ImageClasses) -> dict[str, str | int]:
    classes = json.dumps([data.class_names, data.counts.tolist()])
    digest = blake2b(classes.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return {"name": data.name, "classes": len(data), "images": len(data.images), "digest": digest}


def _format_sets(sets: list[dict[str, str | int]]) -> str:
    return " and ".join("{name} ({classes} classes, {images} images, {digest})".format(**each) for each in sets)
