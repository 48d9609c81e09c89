"""Conv-4 in training: what follows its convolutions as one native operation, against PyTorch's four and against torch.compile.

    python benchmarks/stem.py --markdown docs/benchmarks-stem.md

Times are those of features and all gradients of one batch, turn about, with the preset's batch sizes; the threads are PyTorch's
own choice unless --threads says otherwise.
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import machine
from srwm.ops.native.library import LIBRARY
from srwm.vision import Conv4
from timing import Local, Spread, race

BATCHES = {"Mini-ImageNet": (32, (240, 3, 84, 84)), "Omniglot": (64, (360, 1, 28, 28))}
"""Channels of the stem and shape of the images of a step in the presets for a CPU."""
_HEAD = ["batch", "precision", "native, ms", "PyTorch, ms", "torch.compile, ms", "PyTorch / native", "torch.compile / native"]


def main() -> None:
    """Print the table, and write it where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="default: PyTorch's own choice")
    parser.add_argument("--seconds", type=float, default=4.0, help="least time for each competitor")
    parser.add_argument("--markdown", type=Path, help="page to write")
    options = parser.parse_args()
    if LIBRARY is None:
        raise SystemExit("the native library was not compiled: nothing to measure")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    rows = [
        [name, str(precision).removeprefix("torch."), *_measure(channels, shape, precision, options.seconds)]
        for name, (channels, shape) in BATCHES.items()
        for precision in (torch.bfloat16, torch.float32)
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [_HEAD, ["---"] * len(_HEAD), *rows])
    where = f"{machine.cpu_model()}, threads: {torch.get_num_threads()}, {LIBRARY.selected_isa}, PyTorch {torch.__version__}"
    text = (
        "# Conv-4 in training\n\nMade by `python benchmarks/stem.py --markdown docs/benchmarks-stem.md`.\n\n"
        f"Features and gradients of one batch, dropout 0.1; milliseconds are median [quartiles]. {where}.\n\n{table}\n"
    )
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text)


def _measure(channels: int, shape: tuple[int, ...], precision: torch.dtype, seconds: float) -> list[str]:
    torch.manual_seed(0)
    images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
    stem = Conv4(channels, shape[1], dropout=0.1).to(memory_format=torch.channels_last)
    plain = nn.Sequential(*(nn.Sequential(*copy.deepcopy(stage)) for stage in stem.layers), nn.Flatten())
    stems: dict[str, Callable[[Tensor], Tensor]] = {
        "native": stem,
        "PyTorch": plain,
        "compiled": torch.compile(copy.deepcopy(plain)),
    }
    spreads = race({name: Local(_training(call, images, precision)) for name, call in stems.items()}, seconds)
    torch._dynamo.reset()
    native = spreads["native"].median
    return [*map(_told, spreads.values()), *(f"{spreads[name].median / native:.2f}" for name in ("PyTorch", "compiled"))]


def _training(stem: Callable[[Tensor], Tensor], images: Tensor, precision: torch.dtype) -> Callable[[], tuple[Tensor, ...]]:
    """A call that returns nothing, since dropout makes no two results alike."""

    def call() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            features = stem(images)
        features.float().square().mean().backward()
        return ()

    return call


def _told(spread: Spread) -> str:
    return f"{1e3 * spread.median:.0f} [{1e3 * spread.low:.0f}, {1e3 * spread.high:.0f}]"


if __name__ == "__main__":
    main()
