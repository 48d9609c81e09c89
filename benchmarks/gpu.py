"""Verify and measure the Triton kernels on a machine with a GPU: one command, within nine minutes.

    PYTHONPATH=src:. python benchmarks/gpu.py --json gpu.json --markdown gpu.md
    PYTHONPATH=src:. python benchmarks/gpu.py --smoke      a smoke run on the CPU with its kernels: its figures mean nothing

It needs PyTorch with CUDA, numpy and this repository; the compiled library of the CPU is not needed. Exactness is held against
the float64 reference by the criterion of the tests; every call is made twice and gives the same bits. Times are medians by CUDA
events: of calls as they are, and of a CUDA graph of the call. The loop is the reference in PyTorch, eager, in a CUDA graph, and
compiled where that takes no longer than the time allows.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.ops.exactness import compare
from tests.ops.exactness_cases import LONG, MEDIUM, SHORT, Case, inputs_of, reference
from tests.ops.recurrences import RECURRENCES, Sizes, evaluate
from torch import Tensor

from srwm import ops
from srwm.ops.gpu import availability
from srwm.ops.self_referential import cuda as self_referential

Shape = tuple[int, int, int, int]

SHAPES = ((16, 30, 16, 16), (32, 50, 8, 16), (128, 6, 16, 16), (8, 512, 4, 64), (32, 2048, 8, 64))
STREAM = (48, 1, 16, 16)
LARGEST_LOOP = 2**28
"""Steps times floats of W beyond which the loop is left out: autograd keeps three matrices a step."""
COMPILED_STEPS = 6
"""Steps up to which the loop is compiled: longer ones take minutes to compile."""
RESERVE = 320.0
"""Seconds that exactness leaves to the measurements of time."""
MICROSECONDS_A_STEP = {16: 3.0, 64: 6.5}
HOST_MICROSECONDS = 40


class Clock:
    """The time that is left, and how a call is timed on a device."""

    def __init__(self, device: str, seconds: float, repeats: int):
        self.device = device
        self.repeats = repeats
        self._end = time.monotonic() + seconds

    def over(self, reserve: float = 0.0) -> bool:
        """Whether less than `reserve` seconds are left."""
        return time.monotonic() + reserve > self._end

    def milliseconds(self, call: Callable[[], Any]) -> float:
        """The median time of a call."""
        for _ in range(2):
            call()
        times = []
        for _ in range(self.repeats):
            if self.device == "cpu":
                start = time.perf_counter()
                call()
                times.append(1e3 * (time.perf_counter() - start))
                continue
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
        return statistics.median(times)

    def graphed(self, call: Callable[[], Any]) -> float | None:
        """The median time of a CUDA graph of a call; None on the CPU."""
        if self.device == "cpu":
            return None
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        return self.milliseconds(graph.replay)


def main() -> None:
    arguments = _parser().parse_args()
    if not arguments.smoke and not (torch.cuda.is_available() and availability.AVAILABLE):
        raise SystemExit("benchmarks/gpu.py needs a GPU and Triton; --smoke runs it on the CPU, to see that it runs")
    device, backend = ("cpu", "native") if arguments.smoke else ("cuda", "triton")
    clock = Clock(device, arguments.seconds, 2 if arguments.smoke else 20)
    results: dict[str, Any] = {"machine": _machine(device)}
    steps: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("exactness", lambda: exactness(clock, backend, arguments.smoke)),
        ("training", lambda: [row for shape in SHAPES if (row := training(clock, backend, shape, arguments.smoke))]),
        ("warps", lambda: [row for shape in (SHAPES[0], SHAPES[3]) for row in warps(clock, backend, shape, arguments.smoke)]),
        ("streaming", lambda: streaming(clock, backend)),
        ("delta rule", lambda: delta_rule(clock, backend, arguments.smoke)),
    )
    for name, measure in steps:
        print(name, file=sys.stderr, flush=True)
        try:
            results[name] = measure()
        except (RuntimeError, ValueError) as error:  # the other parts are measured all the same
            results[name] = {"failed": str(error)}
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    text = markdown(results)
    print(text)
    if arguments.markdown is not None:
        arguments.markdown.write_text(text)


def exactness(clock: Clock, backend: str, smoke: bool) -> dict[str, Any]:
    """Every recurrence on the draws of the CPU's tests and on long ones, twice; the failures, and each one's largest share of
    its bound."""
    longest = [Case(Sizes(1, steps, 1, e, e), "ragged") for steps in (3000, 10000) for e in (16, 64)]
    cases = [case for case in (*LONG, *SHORT, *MEDIUM, *longest) if case.sizes.e <= 64 and case.sizes.d <= 64]
    cases = cases[5:8] if smoke else cases
    failures, largest, run = [], dict.fromkeys(RECURRENCES, 0.0), 0
    for case in cases:
        for name, recurrence in RECURRENCES.items():
            if clock.over(RESERVE):
                return {"draws": run, "left out for time": True, "failures": failures, "largest share of a bound": largest}
            inputs, flags = ({key: a.to(clock.device) for key, a in given.items()} for given in inputs_of(name, case))
            found, again = (evaluate(recurrence, inputs, flags, backend=backend) for _ in range(2))
            exact, loop = (reference(name, case, dtype) for dtype in (torch.float64, torch.float32))
            errors = compare({key: a.cpu() for key, a in found.items()}, loop, exact, steps=case.sizes.steps)
            failures += [f"{name} {case}: {error}" for error in errors if not error.holds]
            failures += [f"{name} {case}: {key} differs from run to run" for key in found if not found[key].equal(again[key])]
            sound = [error.kernel / error.bound for error in errors if error.qualifies]
            largest[name] = max([largest[name], *sound])
            run += 1
    return {"draws": run, "left out for time": False, "failures": failures, "largest share of a bound": largest}


def training(clock: Clock, backend: str, shape: Shape, smoke: bool) -> dict[str, Any] | None:
    """Forward and backward at a shape: the kernels, the loops, peak memory."""
    if clock.over(30):
        return None
    used = _small(shape) if smoke else shape
    batch, steps, heads, e = used
    kernel = _gradient(ops.srwm, _inputs(used, clock.device), backend)
    if clock.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row: dict[str, Any] = {"shape": list(used), "kernels": clock.milliseconds(kernel)}
    if clock.device == "cuda":
        row["peak MiB"] = torch.cuda.max_memory_allocated() / 2**20
    row["kernels in a graph"] = clock.graphed(kernel)
    row["microseconds a step"] = 1e3 * (row["kernels in a graph"] or row["kernels"]) / steps
    if steps * batch * heads * e * (3 * e + 4) <= LARGEST_LOOP and not clock.over(60):
        loop = _gradient(ops.srwm, _inputs(used, clock.device), "reference")
        row["loop"] = clock.milliseconds(loop)
        row["loop in a graph"] = clock.graphed(loop)
    if steps <= COMPILED_STEPS and not clock.over(120):
        row["compiled loop"] = clock.milliseconds(_gradient(torch.compile(ops.srwm), _inputs(used, clock.device), "reference"))
    return row


def warps(clock: Clock, backend: str, shape: Shape, smoke: bool) -> list[dict[str, Any]]:
    """The kernels with other numbers of warps than the table's."""
    used = _small(shape) if smoke else shape
    rows, before = [], self_referential.warps
    try:
        for count in (1, 2, 4, 8, 16):
            if clock.over(20):
                break
            self_referential.warps = lambda floats, count=count: count
            call = _gradient(ops.srwm, _inputs(used, clock.device), backend)
            rows.append({"shape": list(used), "warps": count, "kernels": clock.milliseconds(call)})
    finally:
        self_referential.warps = before
    return rows


def streaming(clock: Clock, backend: str) -> dict[str, Any]:
    """One step without gradient: the device's time, and the host's for a call that is not waited for."""
    x, weight = (a.detach() for a in _inputs(STREAM, clock.device))
    state = torch.zeros(STREAM[0], *weight.shape, device=clock.device)

    @torch.inference_mode()
    def call() -> tuple[Tensor, Tensor]:
        return ops.srwm(x, weight, state, backend=backend)

    milliseconds = clock.milliseconds(call)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - start))
    return {"shape": list(STREAM), "milliseconds": milliseconds, "host microseconds": statistics.median(times)}


def delta_rule(clock: Clock, backend: str, smoke: bool) -> list[dict[str, Any]]:
    """The delta rule by the kernels and by chunks, and by flash-linear-attention's kernel where that is installed."""
    try:
        from fla.ops.delta_rule import fused_recurrent_delta_rule
    except ImportError:
        fused_recurrent_delta_rule = None
    rows = []
    for shape in (SHAPES[0], SHAPES[3]):
        used = _small(shape) if smoke else shape
        q, k, v = (torch.randn(used, device=clock.device) for _ in range(3))
        leaves = [q.softmax(-1), k.softmax(-1), v, torch.rand(used[:3], device=clock.device)]
        leaves = [a.requires_grad_() for a in leaves]
        row: dict[str, Any] = {"shape": list(used)}
        for name in (backend, "chunked"):
            row["kernels" if name == backend else name] = clock.milliseconds(_gradient(ops.delta_rule, leaves, name))
        if fused_recurrent_delta_rule is not None and clock.device == "cuda":

            def fla(*given: Tensor, backend: str) -> tuple[Tensor, Tensor]:
                return fused_recurrent_delta_rule(*given, scale=1.0, output_final_state=True)

            row["fla"] = clock.milliseconds(_gradient(fla, leaves, ""))
        rows.append(row)
    return rows


def markdown(results: dict[str, Any]) -> str:
    """The results as a page."""
    machine = results["machine"]
    parts = ["# The kernels on a GPU", "Made by `make gpu`. Times are milliseconds unless they say otherwise."]
    parts.append(", ".join(f"{key} {value}" for key, value in machine.items()) + ".")
    for name, found in results.items():
        if name == "machine":
            continue
        parts.append(f"## {name.capitalize()}")
        if isinstance(found, dict):
            parts.append("\n".join(f"- {key}: {_text(value)}" for key, value in found.items()))
        else:
            parts.append(_table(found))
    return "\n\n".join([*parts, _targets(results)]) + "\n"


def _targets(results: dict[str, Any]) -> str:
    """What was aimed at, and whether it was reached."""
    lines = ["## Targets", ""]
    rows = results["training"] if isinstance(results["training"], list) else []
    for row in rows:
        steps, e = row["shape"][1], row["shape"][3]
        if steps >= 30 and e in MICROSECONDS_A_STEP:
            limit, found = MICROSECONDS_A_STEP[e], row["microseconds a step"]
            lines.append(f"- {row['shape']}: {found:.2f} µs a step, <= {limit}: {'yes' if found <= limit else 'NO'}")
        if "loop" in row:
            wanted, ratio = 30 if e > 16 else 40 if steps >= 30 else 10, row["loop"] / row["kernels"]
            verdict = "yes" if ratio >= wanted else "NO"
            lines.append(f"- {row['shape']}: {ratio:.1f} times as fast as the loop, >= {wanted}: {verdict}")
    if "host microseconds" in results["streaming"]:
        host = results["streaming"]["host microseconds"]
        verdict = "yes" if host <= HOST_MICROSECONDS else "NO"
        lines.append(f"- {host:.0f} µs of the host for a call of one step, <= {HOST_MICROSECONDS}: {verdict}")
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(key for row in rows for key in row))
    body = [[_text(row.get(name)) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [names, ["---"] * len(names), *body])


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _gradient(function: Callable[..., Any], leaves: list[Tensor], backend: str) -> Callable[[], tuple[Tensor, ...]]:
    weights: list[Tensor] = []

    def call() -> tuple[Tensor, ...]:
        y, _ = function(*leaves, backend=backend)
        if not weights:
            weights.append(torch.randn_like(y))
        return torch.autograd.grad(y, leaves, weights[0])

    return call


def _inputs(shape: Shape, device: str) -> list[Tensor]:
    _, _, heads, e = shape
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(shape, generator=generator), torch.randn(heads, e, 3 * e + 4, generator=generator) / e**0.5
    return [x.to(device).requires_grad_(), weight.to(device).requires_grad_()]


def _small(shape: Shape) -> Shape:
    batch, steps, heads, e = shape
    return min(batch, 2), min(steps, 6), min(heads, 2), min(e, 16)


def _machine(device: str) -> dict[str, Any]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    if device == "cuda":
        import triton

        found |= {"device": torch.cuda.get_device_name(), "triton": triton.__version__, "cuda": str(torch.version.cuda)}
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=500.0, help="time after which no new measurement is begun")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--markdown", type=Path, help="where to write the tables")
    return parser


if __name__ == "__main__":
    main()
