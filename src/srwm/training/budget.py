"""The budget of a training run."""

from dataclasses import dataclass

from srwm.errors import UserError
from srwm.training.progress import Progress


@dataclass(frozen=True)
class Budget:
    """The limits of training, which ends when the first of them is reached. None: no such limit."""

    steps: int | None = None
    """optimizer steps"""
    frames: int | None = None
    """steps of all environments of all processes"""
    minutes: float | None = None
    """minutes of wall-clock time"""
    cpu_minutes: float | None = None
    """minutes of CPU time, summed over the threads of a process"""
    patience: int | None = None
    """consecutive validations without a new best"""

    def check(self) -> None:
        """Check that training ends.

        Raises:
            UserError: there is neither a number of steps nor a time.
        """
        if self.steps is self.minutes is self.cpu_minutes is None:
            raise UserError("budget: expected --steps, --minutes or --cpu-minutes")

    def spent(self, progress: Progress) -> float:
        """The fraction of the budget that has been spent.

        Args:
            progress: the counters of the run.

        Returns:
            From 0 to 1; 1 also where `patience` validations have passed without a new best.
        """
        if self.patience is not None and progress.validations_since_best >= self.patience:
            return 1.0
        by_steps = progress.step / self.steps if self.steps else 0.0
        by_frames = progress.frames / self.frames if self.frames else 0.0
        by_minutes = progress.seconds / (60 * self.minutes) if self.minutes else 0.0
        by_cpu = progress.cpu_seconds / (60 * self.cpu_minutes) if self.cpu_minutes else 0.0
        return min(1.0, max(by_steps, by_frames, by_minutes, by_cpu))

    def __str__(self) -> str:
        """As "600 steps or 30 minutes"."""
        limits = {
            "steps": self.steps,
            "frames": self.frames,
            "minutes": self.minutes,
            "CPU minutes": self.cpu_minutes,
            "validations without a new best": self.patience,
        }
        return " or ".join(f"{limit:,} {unit}" for unit, limit in limits.items() if limit is not None)
