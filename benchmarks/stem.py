"""Image stems in training: with their native operations, with PyTorch's alone, and under torch.compile.

    python benchmarks/stem.py --json docs/benchmarks-stem.json --markdown docs/benchmarks-stem.md

Times are those of features and all gradients of one batch, alternating: Conv-4 with the presets' batch sizes and dropout, and
IMPALA's stem with as many frames of ProcGen as an agent embeds at once. The process is prepared as those of the commands are.
Threads are PyTorch's own choice unless --threads says otherwise.
"""

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srwm.cli.process import prepare_process

prepare_process()  # before PyTorch is imported

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import machine  # noqa: E402
from plain import use_pytorchs_pools  # noqa: E402
from srwm.fewshot.presets import PRESETS  # noqa: E402
from srwm.ops.cpu.library import LIBRARY  # noqa: E402
from srwm.rl.agent import AgentConfig  # noqa: E402
from srwm.vision import Conv4, ImpalaResNet  # noqa: E402
from timing import Local, race  # noqa: E402

COMPETITORS = ("native", "PyTorch", "torch.compile")


def main() -> None:
    """Print the table, and write it where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=machine.thread_count, help="default: PyTorch's own choice")
    parser.add_argument("--seconds", type=float, default=4.0, help="least time for each competitor")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    options = parser.parse_args()
    machine.check_outputs(options.json, options.markdown)
    if LIBRARY is None:
        raise SystemExit("the native library was not compiled: nothing to measure")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    rows = [
        {"batch": name, "precision": str(precision).removeprefix("torch."), **_measure(build, precision, options.seconds)}
        for name, build in STEMS.items()
        for precision in (torch.bfloat16, torch.float32)
    ]
    where = {
        "cpu": machine.cpu_model(),
        "threads": torch.get_num_threads(),
        "isa": LIBRARY.selected_isa,
        "torch": torch.__version__,
    }
    print(text := _text(where, rows))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": where, "rows": rows}, indent=2) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(text)


def _text(where: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    head = ["batch", "precision", *(f"{name}, ms" for name in COMPETITORS), *(f"{name} / native" for name in COMPETITORS[1:])]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        spreads = [row["seconds"][name] for name in COMPETITORS]
        cells = [f"{1e3 * s['median']:.0f} [{1e3 * s['low']:.0f}, {1e3 * s['high']:.0f}]" for s in spreads]
        ratios = [f"{s['median'] / spreads[0]['median']:.2f}" for s in spreads[1:]]
        lines.append([f"{row['batch']} {tuple(row['images'])}", row["precision"], *cells, *ratios])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return (
        "# Image stems in training\n\nMade by `python benchmarks/stem.py --json docs/benchmarks-stem.json --markdown "
        "docs/benchmarks-stem.md`.\n\nFeatures and gradients of one batch; milliseconds, median [quartiles] of calls in turn. "
        f"{where['cpu']}, threads: {where['threads']}, {where['isa']}, PyTorch {where['torch']}.\n\n{table}\n"
    )


def _measure(
    build: Callable[[], tuple[nn.Module, nn.Module, list[int]]], precision: torch.dtype, seconds: float
) -> dict[str, Any]:
    torch.manual_seed(0)
    stem, plain, shape = build()
    images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
    stems = [each.to(memory_format=torch.channels_last) for each in (stem, plain, copy.deepcopy(plain))]
    stems[2] = torch.compile(stems[2])
    calls = {name: Local(_training(each, images, precision)) for name, each in zip(COMPETITORS, stems, strict=True)}
    spreads = race(calls, seconds)
    torch._dynamo.reset()
    return {"images": shape, "seconds": {name: spread.as_dict() for name, spread in spreads.items()}}


def _conv4(preset: str) -> tuple[nn.Module, nn.Module, list[int]]:
    config = PRESETS[preset][1]
    model, count = config.model, config.pool.classes * config.pool.images_per_class
    assert isinstance(model.stem_channels, int)
    stem = Conv4(model.stem_channels, model.image_shape[0], model.stem_dropout)
    plain = nn.Sequential(*(nn.Sequential(*copy.deepcopy(stage)) for stage in stem.layers), nn.Flatten())
    return stem, plain, [count, *model.image_shape]


def _impala() -> tuple[nn.Module, nn.Module, list[int]]:
    stem = ImpalaResNet()
    plain = copy.deepcopy(stem)
    use_pytorchs_pools(plain)
    return stem, plain, [AgentConfig().frames_at_once, 3, 64, 64]


STEMS = {
    "Conv-4, Mini-ImageNet": lambda: _conv4("cpu-mini-imagenet-1shot"),
    "Conv-4, Omniglot": lambda: _conv4("cpu-omniglot-1shot"),
    "IMPALA, ProcGen": _impala,
}


def _training(stem: nn.Module, images: Tensor, precision: torch.dtype) -> Callable[[], tuple[Tensor, ...]]:
    """A call that returns nothing, since dropout makes no two results alike."""
    parameters = list(stem.parameters())

    def call() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            features = stem(images)
        torch.autograd.grad(features.float().square().mean(), parameters)
        return ()

    return call


if __name__ == "__main__":
    main()
