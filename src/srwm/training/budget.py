"""The budget of a training run."""

from dataclasses import dataclass

from srwm.training.progress import Progress


@dataclass(frozen=True)
class Budget:
    """When training ends: at whichever limit is reached first. None: no such limit."""

    steps: int | None = None
    """optimizer steps"""
    frames: int | None = None
    """steps of all environments of all processes"""
    minutes: float | None = None
    """wall time"""
    cpu_minutes: float | None = None
    """CPU time, all threads of a process added up"""
    patience: int | None = None
    """validations without a new best"""

    def spent(self, progress: Progress) -> float:
        """The fraction of the budget that is spent, from 0 to 1; lost patience spends all of it at once."""
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
