"""The results as tables: for the terminal and for the documentation."""

from collections.abc import Iterable, Sequence
from typing import Any

COMPETITORS = {
    "native": "native",
    "loop": "(a) loop",
    "own backward": "(a') own backward",
    "chunked": "chunked",
    "compiled": "(b) torch.compile",
    "separate": "(c) separate matrices",
    "jax": "(d) JAX scan",
}
MODES = {"forward": "forward", "gradient": "forward + backward", "step": "one step, carried on"}
NOTES = (
    "Times are milliseconds: median and quartiles of calls taken in turn with the other competitors'. "
    "All agree with the native results, gradients included, to 1e-3 before they are timed.",
    "(a) is the fastest loop found that autograd differentiates: products batched over batch x heads, one for v - v̄, in place "
    "where no gradient is needed. (a') has its backward written by hand, rebuilding W as the kernels do. (b) compiles a few "
    "steps of (a) to a graph; '-' where that took longer than the limit. (c) keeps W_y, W_q, W_k and w_b apart. (d) is "
    "lax.scan under jit, in a process kept to as many CPUs as there are threads. 'chunked' is the parallel form over chunks of "
    "steps. For one step the native call carries the shift and adds W_0 to it; the others carry W itself, which is less work.",
    "Ratios are medians over native's. The last columns are the distance to the machine's limits: the fraction of its "
    "measured multiply-add peak, and of its measured cache reads if each of the 3 products of a step (10 with backward) read "
    "its matrix once, which may pass 100 % where products share a read; and the fraction of the peak that the target takes.",
)

Table = tuple[Sequence[str], list[Sequence[str]]]


def text(results: dict[str, Any]) -> str:
    """The tables in fixed width."""
    parts = [_machine(results["machine"])]
    for title, table in _tables(results):
        parts += [title, _fixed_width(table)]
    return "\n\n".join((*parts, *NOTES, _verdict(results)))


def markdown(results: dict[str, Any]) -> str:
    """The tables as a page of the documentation."""
    parts = ["# Benchmarks", "Made by `make bench`.", _machine(results["machine"])]
    for title, table in _tables(results):
        parts += [f"## {title}", _pipes(table)]
    return "\n\n".join((*parts, *NOTES, _verdict(results))) + "\n"


def _tables(results: dict[str, Any]) -> Iterable[tuple[str, Table]]:
    groups = {
        "Self-referential weight matrix": [row for row in results["races"] if row["operation"] == "srwm"],
        "Delta rule and linear attention": [row for row in results["races"] if row["operation"] != "srwm"],
    }
    for title, rows in groups.items():
        yield f"{title}: milliseconds", _times(rows)
        yield f"{title}: times as long as native", _ratios(rows)
    yield "Other targets", _checks(results["checks"])


def _times(rows: list[dict[str, Any]]) -> Table:
    names = _present(rows)
    body = [[*_labels(row), *(_milliseconds(row["seconds"].get(name)) for name in names)] for row in rows]
    return [*_LABELS, *(COMPETITORS[name] for name in names)], body


def _ratios(rows: list[dict[str, Any]]) -> Table:
    names = [name for name in _present(rows) if name != "native"]
    limits = ("fma", "cache") if "fma" in rows[0] else ()
    body = [
        [
            *_labels(row),
            *(_number(row["ratios"].get(name)) for name in names),
            ", ".join(f">= {target} over {name}" for name, target in row["targets"].items()) or "-",
            _met(row["met"].values()),
            *(f"{row[limit]:.0%}" if limit in row else "-" for limit in limits),
            *([_at_target(row)] if limits else []),
        ]
        for row in rows
    ]
    last = ("of FMA peak", "of cache reads", "of FMA peak at target") if limits else ()
    return [*_LABELS, *(COMPETITORS[n] for n in names), "target", "met", *last], body


def _at_target(row: dict[str, Any]) -> str:
    """The fraction of the multiply-add peak that reaching every target of this row would take."""
    shares = [row["fma"] * target / row["ratios"][name] for name, target in row["targets"].items() if name in row["ratios"]]
    return f"{max(shares):.0%}" if shares else "-"


def _checks(rows: list[dict[str, Any]]) -> Table:
    body = [
        [
            row["what"],
            _shape(row),
            MODES[row["mode"]],
            _number(row["value"]),
            f"<= {_number(row['target'])}",
            _met([row["met"]]),
        ]
        for row in rows
    ]
    return ["what", "(B, T, H, E)", "mode", "measured", "target", "met"], body


_LABELS = ("operation", "(B, T, H, E)", "mode")


def _labels(row: dict[str, Any]) -> list[str]:
    return [row["operation"], _shape(row), MODES[row["mode"]]]


def _present(rows: list[dict[str, Any]]) -> list[str]:
    return [name for name in COMPETITORS if any(name in row["seconds"] for row in rows)]


def _shape(row: dict[str, Any]) -> str:
    return "(" + ", ".join(map(str, row["shape"])) + ")"


def _milliseconds(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    median, low, high = (_number(1e3 * spread[key]) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def _number(value: float | None) -> str:
    """Three significant digits, never in powers of ten."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _met(verdicts: Iterable[bool]) -> str:
    verdicts = list(verdicts)
    if not verdicts:
        return "-"
    return "yes" if all(verdicts) else "NO"


def _machine(machine: dict[str, Any]) -> str:
    jax = f", JAX {machine['jax']}" if "jax" in machine else "; no JAX interpreter was given (--jax-python)"
    bandwidth = ", ".join(f"{size}: {value / 1e9:.0f} GB/s" for size, value in machine["cache_bandwidth"].items())
    return " ".join(
        (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {machine['threads']} threads, instruction set",
            f"{machine['isa']}, OMP_WAIT_POLICY={machine['omp_wait_policy']}; Python {machine['python']}, PyTorch",
            f"{machine['torch']}{jax}. Measured limits of these threads: {machine['fma_peak'] / 1e9:.0f} GFLOP/s of float32",
            f"multiply-adds; reading arrays of {bandwidth} (PyTorch's fastest sum; a core's own limit may lie higher).",
        )
    )


def _verdict(results: dict[str, Any]) -> str:
    verdicts = [met for row in results["races"] for met in row["met"].values()] + [row["met"] for row in results["checks"]]
    return f"{sum(verdicts)} of {len(verdicts)} targets met."


def _fixed_width(table: Table) -> str:
    head, body = table
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in (head, *body)]
    return "\n".join((lines[0], "-" * len(lines[0]), *lines[1:]))


def _pipes(table: Table) -> str:
    head, body = table
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
