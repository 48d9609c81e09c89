"""Microseconds of one sample of one stream: the compiled library beside the model's own calls, one thread.

    python benchmarks/stream_step.py

The weights are random and the state is that after 100 samples: neither changes the time. What is timed is a call from Python
with arrays of numpy, for the model with tensors; both sides give the same, or the comparison fails.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

import machine
from pages import write_section
from srwm.errors import UserError
from srwm.nn import leaves
from srwm.ops.cpu.library import compiled
from srwm.ranges import Above
from srwm.streams.config import ModelConfig
from srwm.streams.model import StreamModel, StreamState
from srwm.streams.native import NativeModel
from srwm.streams.prior import PriorConfig, Streams, draw_streams
from srwm.training.configuration import check_values
from timing import Competitor, Spread, race

TITLE = "# One sample of a stream\n"
_SAMPLES = 100


@dataclass(frozen=True)
class Options:
    """Time a question and an example."""

    seconds: Annotated[float, Above(0)] = 2.0
    """time for each of the four calls, in several turns"""
    markdown: Path | None = None
    """page for the table"""
    model: ModelConfig = field(default_factory=ModelConfig)
    """sizes of the model"""


class Call:
    """A call whose time is that of the call alone."""

    def __init__(self, call: Callable[[], Any], tensors: Callable[[Any], tuple[Tensor, ...]]):
        self._call, self._tensors = call, tensors

    def results(self) -> tuple[Tensor, ...]:
        return self._tensors(self._call())

    def seconds(self, repeats: int) -> list[float]:
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            self._call()
            taken.append(time.perf_counter() - start)
        return taken


@torch.inference_mode()
def main(options: Options) -> None:
    """Print the table."""
    machine.check_outputs(options.markdown)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        check_values(options)
        model = StreamModel(options.model).eval()
        native = NativeModel(model)
    except (UserError, ValueError) as error:
        sys.exit(f"error: {error}")
    prior = PriorConfig(max_features=model.config.num_features, max_classes=model.config.num_classes)
    streams = draw_streams(prior, 0, 1, _SAMPLES + 1)
    *_, state = model(*(part[:, :_SAMPLES] for part in streams[:3]))
    found = {name: race(calls, options.seconds) for name, calls in _calls(model, native, streams, state).items()}
    text = _table(found, sum(part.numel() for part in model.parameters()))
    print(text)
    if options.markdown is not None:
        write_section(options.markdown, TITLE, text)


def _calls(model: StreamModel, native: NativeModel, streams: Streams, state: StreamState) -> dict[str, dict[str, Competitor]]:
    packed = native.packed(state)
    x, present, labels = (part[:, _SAMPLES:] for part in streams[:3])
    row, there, label = x[0, 0].numpy(), present[0, 0].numpy(), int(labels)

    def logits(answer: Tensor) -> tuple[Tensor, ...]:
        return (answer.flatten().nan_to_num(neginf=0.0),)

    def parts(after: StreamState) -> tuple[Tensor, ...]:
        return tuple(part.double() for part in leaves(tuple(after)))

    return {
        "question": {
            "model": Call(lambda: model.query(x, present, state), logits),
            "native": Call(lambda: native.question(row, there, packed), lambda answer: logits(torch.from_numpy(answer))),
        },
        "example": {
            "model": Call(lambda: model(x, present, labels, state)[1], parts),
            "native": Call(lambda: native.example(row, there, label, packed), lambda after: parts(native.unpacked(after))),
        },
    }


def _table(found: dict[str, dict[str, Spread]], parameters: int) -> str:
    def cell(spread: Spread) -> str:
        return f"{1e6 * spread.median:.1f} ({1e6 * spread.low:.1f} to {1e6 * spread.high:.1f})"

    lines = [f"| {name} | {cell(spreads['model'])} | {cell(spreads['native'])} |" for name, spreads in found.items()]
    both = (1e6 * sum(spreads[name].median for spreads in found.values()) for name in ("model", "native"))
    where = f"{machine.cpu_model()}, {compiled().selected_isa}, one thread"
    about = f"{where}; {parameters:,} parameters. Microseconds of a call: median and quartiles."
    head = ["| | model | native |", "|---|---|---|"]
    return "\n".join([about, "", *head, *lines, "| both, medians | " + " | ".join(f"{value:.1f}" for value in both) + " |"])


if __name__ == "__main__":
    main(tyro.cli(Options))
