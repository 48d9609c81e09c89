"""The shared part of training loops: budget, stop requests, clock, progress bar, log and checkpoints."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from lightning_fabric import Fabric
from torch import nn
from tqdm import tqdm

from srwm.errors import UserError, one_line
from srwm.training.budget import Budget
from srwm.training.checkpoint import Checkpoints
from srwm.training.clock import Clock
from srwm.training.distributed import all_reduce_budget
from srwm.training.metrics import MetricsLog
from srwm.training.progress import Progress
from srwm.training.runs import BEST
from srwm.training.stopping import stop_requests
from srwm.training.weights import save_weights

_REPORT_EVERY = 60.0
"""Seconds between two lines of output where there is no terminal for a progress bar."""


class RunLoop:
    """The shared part of a training loop, used as a context manager:

        with RunLoop(...) as run:
            while run.next_step():
                ...                     # forward, backward and optimizer step
                run.end_step()
                if run.is_due(log_every):
                    run.log(row, text)
                if run.stopping or run.is_due(checkpoint_every):
                    run.save(model, state)

    Under `torchrun` every process has one. They synchronize budget and stop requests. Only rank 0 writes and prints.

    Attributes:
        progress: the counters of the run; `next_step` and `end_step` update the step and the times.
        spent: the fraction of the budget that is spent, from 0 to 1.
        stopping: whether a process was requested to stop.

    Args:
        fabric: the processes.
        folder: the run folder.
        budget: when training ends.
        progress: the counters at the beginning, or those of the checkpoint from which the run continues.
        unit: the unit of the progress bar.
        columns: the columns of `metrics.csv` besides the step and the times.
        rate: the unit of the speed, and its number per `unit`.
    """

    def __init__(
        self,
        fabric: Fabric,
        folder: Path,
        budget: Budget,
        progress: Progress,
        *,
        unit: Literal["steps", "frames"],
        columns: Sequence[str],
        rate: tuple[str, int],
    ) -> None:
        self.fabric = fabric
        self.folder = folder
        self.budget = budget
        self.progress = progress
        self.unit = unit
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.spent = 0.0
        self.stopping = False
        self._columns = columns
        self._rate = rate
        self._first = self._position
        self._session = time.monotonic()
        self._clock = Clock(progress)
        self._last_line = progress.seconds
        self._text = "no metrics yet"
        self._log: MetricsLog | None = None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Open the log and the progress bar, and begin to handle stop requests."""
        is_rank_zero = self.fabric.is_global_zero
        if unknown := self.progress.sums.keys() - set(self._columns):
            raise UserError(f"{self.checkpoints.folder}: not the state of such a run (no column {', '.join(sorted(unknown))})")
        self._share_budget(stopping=False)
        with ExitStack() as stack:
            if is_rank_zero:
                self._log = stack.enter_context(MetricsLog(self.folder, self.progress.step, self._columns))
            self._bar = stack.enter_context(
                tqdm(
                    total=getattr(self.budget, self.unit),
                    initial=self._position,
                    unit=f" {self.unit}",
                    unit_scale=self.unit == "frames",
                    disable=None if is_rank_zero else True,
                    dynamic_ncols=True,
                )
            )
            self._stop = stack.enter_context(stop_requests())
            self._has_terminal = not self._bar.disable and sys.stdout.isatty()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the log and the progress bar."""
        self._exit.__exit__(kind, error, trace)

    def announce(self, model: nn.Module, data: str) -> None:
        """Print one line about the run: folder, device, threads, data, number of parameters, and budget.

        Args:
            model: the model.
            data: a description of the data.
        """
        threads = torch.get_num_threads()
        parts = [
            f"device {self.fabric.device}",
            f"{threads} thread{'s' * (threads != 1)}",
            *([f"{self.fabric.world_size} processes"] if self.fabric.world_size > 1 else []),
            data,
            f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters",
            f"budget {self.budget}",
            *([f"resumed at step {self.progress.step:,}"] if self.progress.step else []),
        ]
        self.print(f"training in {self.folder}: {', '.join(parts)}")

    def next_step(self) -> bool:
        """Begin the next step.

        Returns:
            False if the budget is spent or a process was requested to stop.
        """
        if self.spent >= 1 or self.stopping:
            return False
        if self._is_line_due():
            self.report(self._text)
        self.progress.step += 1
        return True

    def end_step(self) -> None:
        """Update the times, the budget, stop requests and the progress bar."""
        self._clock.update()
        self._share_budget(self._stop.is_set())
        self._bar.update(self._position - self._bar.n)

    def end_validation(self) -> None:
        """Update the times and the budget after a validation, which takes time and may exhaust the patience."""
        self._clock.update()
        self._share_budget(self.stopping)

    def is_due(self, every: int) -> bool:
        """Whether an action that is repeated every few steps, and at the end of the budget, is due.

        Args:
            every: number of steps between two actions.

        Returns:
            True if it is due.
        """
        return self.spent >= 1 or self.progress.step % every == 0

    def log(self, row: dict[str, float], text: str, *, report: bool = False) -> None:
        """Write a row of metrics.

        Args:
            row: the values by column; the step and the times are added.
            text: a summary of the row, for the progress bar and printed lines.
            report: print it now. Otherwise it is printed if it is the last row, or, without a terminal, once a minute.
        """
        self._text = text
        self._bar.set_postfix_str(text)
        if report or self.spent >= 1 or self._is_line_due():
            self.report(text)
        if self._log is not None:
            minutes, cpu_minutes = self.progress.seconds / 60, self.progress.cpu_seconds / 60
            self._log.write(self.progress.step, minutes=minutes, cpu_minutes=cpu_minutes, **row)

    def save(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Write a checkpoint.

        Args:
            model: the model.
            state: everything else that a resumed run needs: tensors, numbers, strings, lists and dicts.

        Raises:
            UserError: it cannot be written.
        """
        if self.fabric.is_global_zero:
            self.checkpoints.save(self.progress.step, model, state)

    def keep_best(self, model: nn.Module, value: float, text: str) -> None:
        """Save the weights of a validation as `best.safetensors`, if it is the best so far.

        Args:
            model: the validated model.
            value: the measure that decides, larger is better.
            text: the result, for the metadata of the file.

        Raises:
            UserError: they cannot be written.
        """
        progress = self.progress
        progress.validations_since_best += 1
        if value > progress.best:
            progress.best, progress.validations_since_best = value, 0
            save_weights(self.folder / BEST, model, {"step": progress.step, "validation": text})

    @property
    def speed(self) -> float:
        """The speed of this session, in units of `rate` per second."""
        return self._rate[1] * (self._position - self._first) / (time.monotonic() - self._session)

    def report(self, text: str) -> None:
        """Print the position of the run and `text`.

        Args:
            text: a summary of the metrics.
        """
        self._last_line = self.progress.seconds
        position = f"step {self.progress.step}" if self.unit == "steps" else f"{self.progress.frames:,} frames"
        minutes = self.progress.seconds / 60
        self.print(f"{position}, {minutes:.1f} min, {self.speed:.0f} {self._rate[0]}/s: {text}")

    def print(self, line: str) -> None:
        """Print a line above the progress bar; only rank 0 does.

        Args:
            line: the line.
        """
        if self.fabric.is_global_zero:
            tqdm.write(one_line(line))
            sys.stdout.flush()

    @property
    def _position(self) -> int:
        return self.progress.step if self.unit == "steps" else self.progress.frames

    def _is_line_due(self) -> bool:
        return not self._has_terminal and self.progress.seconds - self._last_line >= _REPORT_EVERY

    def _share_budget(self, stopping: bool) -> None:
        self.spent, self.stopping = all_reduce_budget(self.fabric, self.budget.spent(self.progress), stopping)
