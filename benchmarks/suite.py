"""Every measurement: which competitors run at which sizes, and which operations are measured."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fast_weight_loops
import machine
import memory
import srwm_loops
from srwm.ops import delta_rule, linear_attention, srwm
from srwm.ops.cpu.library import LIBRARY
from timing import Competitor, Jax, Local, race

Shape = tuple[int, int, int, int]
Operation = Callable[..., tuple[Tensor, Tensor]]

SHORT = ((128, 6, 16, 16), (16, 30, 16, 16), (32, 100, 16, 16), (32, 50, 8, 16))
LONG = (1, 1000, 16, 16)
WIDE = ((8, 512, 4, 64), (4, 256, 4, 128))
SHAPES = (*SHORT, LONG, *WIDE)
FAST_WEIGHTS = ((16, 30, 16, 16), (32, 100, 16, 16), LONG, (8, 512, 4, 64))
STREAMS = ((1, 1, 16, 16), (48, 1, 16, 16))
ODD_SIZES = ((17, 32), (24, 32), (63, 64))
MEMORY = (4, 1024, 8, 64)
FORWARD, GRADIENT, STEP = "forward", "gradient", "step"


@dataclass(frozen=True)
class Settings:
    threads: int
    seconds: float
    """Least time each competitor is measured for."""
    compile_limit: float
    jax_python: Path | None
    quick: bool


def run(settings: Settings) -> dict[str, Any]:
    """All results, as written to JSON: the machine, a row for each race, a row for each single target."""
    if LIBRARY is None:
        raise SystemExit("the native library was not compiled: nothing to measure")
    torch.manual_seed(0)
    limits = machine.describe(LIBRARY, settings.threads)
    jax = Jax(settings.jax_python, settings.threads) if settings.jax_python else None
    srwm_loops.warm_up_compiler()
    races = [_srwm_race(settings, jax, limits, shape, mode) for shape in SHAPES for mode in (FORWARD, GRADIENT)]
    races += [_stream_race(settings, jax, shape) for shape in STREAMS]
    for shape in FAST_WEIGHTS:
        races += [_fast_weights_race(settings, name, shape, mode) for name in _FAST for mode in (FORWARD, GRADIENT)]
    checks = []
    for shape in SHAPES:
        checks += _resets_checks(settings, shape)
    for pair in ODD_SIZES:
        checks += _odd_size_checks(settings, *pair)
    checks.append(_call_check(races))
    if memory.available():
        checks += _memory_checks(settings)
    if jax is not None:
        limits["jax"] = jax.version
        jax.close()
    return {"machine": limits, "races": races, "checks": checks}


def _srwm_race(settings: Settings, jax: Jax | None, limits: dict[str, Any], shape: Shape, mode: str) -> dict[str, Any]:
    used = _small(shape) if settings.quick else shape
    inputs = _srwm_inputs(used)
    cotangent = torch.randn(used)
    loops: dict[str, Operation] = {
        "native": partial(srwm, backend="native"),
        "loop": srwm_loops.loop,
        "own backward": srwm_loops.own_backward,
        "compiled": srwm_loops.compiled(used[1], settings.compile_limit),
        "separate": srwm_loops.separate,
    }
    if mode == FORWARD:
        del loops["own backward"]
    competitors: dict[str, Competitor] = {name: _local(f, inputs, cotangent, mode) for name, f in loops.items()}
    if not _compiles(competitors["compiled"]):
        del competitors["compiled"]
    if jax is not None:
        competitors["jax"] = jax.load(mode, *inputs, cotangent)
    row = _row("srwm", used, mode, competitors, settings, _srwm_targets(shape, mode))
    torch._dynamo.reset()
    return row | machine.distance(limits, used, mode == GRADIENT, row["seconds"]["native"]["median"])


def _srwm_targets(shape: Shape, mode: str) -> dict[str, float]:
    if shape in WIDE:
        return {"loop": 10}
    if mode == FORWARD:
        return {"loop": 15}
    return {"loop": 150} if shape == LONG else {"loop": 20, "jax": 30}


def _stream_race(settings: Settings, jax: Jax | None, shape: Shape) -> dict[str, Any]:
    """One step without gradient: the native call carries the shift, as its users do; the others carry W, which is cheaper."""
    batch, _, heads, e = shape
    x, weight = _srwm_inputs(shape)
    shift = 0.1 * torch.randn(batch, heads, e, weight.shape[2]) / e**0.5
    matrix = weight + shift
    compiled = torch.compile(srwm_loops.step, fullgraph=True, dynamic=False)

    def native() -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return srwm(x, weight, shift, backend="native")

    def next_matrix() -> tuple[Tensor, ...]:
        y, following = native()
        return y, weight + following

    competitors: dict[str, Competitor] = {
        "native": _Stream(next_matrix, native),
        "loop": _local(srwm_loops.step, (x, matrix), x, FORWARD),
        "compiled": _local(compiled, (x, matrix), x, FORWARD),
    }
    if jax is not None:
        competitors["jax"] = jax.load(STEP, x, matrix, x)
    row = _row("srwm", shape, STEP, competitors, settings, {})
    torch._dynamo.reset()
    return row


class _Stream(Local):
    """Timed by one call, compared by another."""

    def __init__(self, results: Callable[[], tuple[Tensor, ...]], call: Callable[[], tuple[Tensor, ...]]):
        self._timed = Local(call)
        super().__init__(results)

    def seconds(self, repeats: int) -> list[float]:
        return self._timed.seconds(repeats)


_FAST: dict[str, dict[str, Operation]] = {
    "delta_rule": {
        "native": partial(delta_rule, backend="native"),
        "loop": fast_weight_loops.delta_rule_loop,
        "chunked": partial(delta_rule, backend="chunked"),
    },
    "linear_attention": {
        "native": partial(linear_attention, backend="native"),
        "loop": fast_weight_loops.linear_attention_loop,
        "chunked": partial(linear_attention, backend="chunked"),
    },
}


def _fast_weights_race(settings: Settings, name: str, shape: Shape, mode: str) -> dict[str, Any]:
    used = _small(shape) if settings.quick else shape
    q, k, v = torch.randn(used).softmax(-1), torch.randn(used).softmax(-1), torch.randn(used)
    inputs = (q, k, v, torch.rand(used[:3])) if name == "delta_rule" else (q, k, v)
    cotangent = torch.randn(used)
    competitors: dict[str, Competitor] = {loop: _local(f, inputs, cotangent, mode) for loop, f in _FAST[name].items()}
    return _row(name, used, mode, competitors, settings, {"loop": 10})


def _resets_checks(settings: Settings, shape: Shape) -> list[dict[str, Any]]:
    used = _small(shape) if settings.quick else shape
    x, weight = _srwm_inputs(used)
    shift = 0.1 * torch.randn(used[0], *weight.shape) / used[3] ** 0.5
    resets = torch.rand(used[:2]) < 0.1
    cotangent = torch.randn(used)
    native = partial(srwm, backend="native")

    def ratio(mode: str) -> float:
        return _ratio(
            _timed_apart(lambda x, weight, shift: native(x, weight, shift, resets), (x, weight, shift), cotangent, mode),
            _timed_apart(native, (x, weight), cotangent, mode),
            settings,
        )

    what = "time with resets (10 %) and an initial shift / without"
    return [_check(what, used, mode, ratio(mode), 1.2) for mode in (FORWARD, GRADIENT)]


def _odd_size_checks(settings: Settings, e: int, multiple: int) -> list[dict[str, Any]]:
    leading = (2, 4, 2) if settings.quick else (16, 100, 8)
    shapes = [(*leading, size) for size in (e, multiple)]
    calls = {
        mode: [_timed_apart(partial(srwm, backend="native"), _srwm_inputs(s), torch.randn(s), mode) for s in shapes]
        for mode in (FORWARD, GRADIENT)
    }
    return [
        _check(f"time of E = {e} / E = {multiple}", shapes[0], mode, _ratio(*pair, settings), 1.5)
        for mode, pair in calls.items()
    ]


def _call_check(races: list[dict[str, Any]]) -> dict[str, Any]:
    row = next(row for row in races if row["mode"] == STEP and row["shape"] == list(STREAMS[0]))
    return _check("microseconds of a call without gradient", STREAMS[0], STEP, 1e6 * row["seconds"]["native"]["median"], 30)


def _memory_checks(settings: Settings) -> list[dict[str, Any]]:
    shape = _small(MEMORY) if settings.quick else MEMORY
    _say("memory", shape, "")
    peaks = {case: memory.peak_growth(case, shape, settings.threads) for case in memory.CASES}
    megabytes = ", ".join(f"{case} {peak / 2**20:.0f}" for case, peak in peaks.items())
    what = f"peak memory (MiB: {megabytes})"
    native = max(peaks["native"], 1)
    return [
        _check(f"{what}: native / loop", shape, GRADIENT, native / peaks["loop"], 1 / 20),
        _check("peak memory with resets at every step / without", shape, GRADIENT, peaks["resets"] / native, 1.2),
    ]


def _row(
    name: str, shape: Shape, mode: str, competitors: dict[str, Competitor], settings: Settings, targets: dict[str, float]
) -> dict[str, Any]:
    _say(name, shape, mode)
    spreads = race(competitors, settings.seconds)
    ratios = {other: spread.median / spreads["native"].median for other, spread in spreads.items() if other != "native"}
    return {
        "operation": name,
        "shape": list(shape),
        "mode": mode,
        "seconds": {competitor: spread.as_dict() for competitor, spread in spreads.items()},
        "ratios": ratios,
        "targets": {other: target for other, target in targets.items() if other in ratios},
        "met": {other: ratios[other] >= target for other, target in targets.items() if other in ratios},
    }


def _check(what: str, shape: Shape, mode: str, value: float, target: float) -> dict[str, Any]:
    return {"what": what, "shape": list(shape), "mode": mode, "value": value, "target": target, "met": value <= target}


def _ratio(numerator: Competitor, denominator: Competitor, settings: Settings) -> float:
    spreads = race({"numerator": numerator, "denominator": denominator}, settings.seconds)
    return spreads["numerator"].median / spreads["denominator"].median


def _timed_apart(function: Operation, inputs: tuple[Tensor, ...], cotangent: Tensor, mode: str) -> Competitor:
    """A competitor in a race between different computations: there is nothing to compare."""
    return _Stream(tuple, _call(function, inputs, cotangent, mode))


def _local(function: Operation, inputs: tuple[Tensor, ...], cotangent: Tensor, mode: str) -> Local:
    return Local(_call(function, inputs, cotangent, mode))


def _call(function: Operation, inputs: tuple[Tensor, ...], cotangent: Tensor, mode: str) -> Callable[[], tuple[Tensor, ...]]:
    """y and the state without gradient, or y and the gradients of all inputs for a fixed gradient of y."""
    leaves = [a.detach().requires_grad_() for a in inputs]

    def forward() -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return function(*inputs)

    def gradient() -> tuple[Tensor, ...]:
        y, _ = function(*leaves)
        return y, *torch.autograd.grad(y, leaves, cotangent)

    return forward if mode == FORWARD else gradient


def _compiles(competitor: Competitor) -> bool:
    try:
        competitor.results()
    except srwm_loops.CompileTimeoutError:
        return False
    return True


def _srwm_inputs(shape: Shape) -> tuple[Tensor, Tensor]:
    _, _, heads, e = shape
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(shape, generator=generator), torch.randn(heads, e, 3 * e + 4, generator=generator)
    return x, weight / math.sqrt(e)


def _small(shape: Shape) -> Shape:
    batch, steps, heads, e = shape
    return min(batch, 2), min(steps, 6), min(heads, 2), min(e, 16)


def _say(name: str, shape: Shape, mode: str) -> None:
    print(name, shape, mode, file=sys.stderr, flush=True)
