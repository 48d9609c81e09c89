"""One optimizer step of training on a sequence task, and the state that it changes."""

from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.sequences.batch import NO_TARGET, Batch
from srwm.sequences.config import TrainConfig
from srwm.sequences.model import SequenceModel
from srwm.sequences.tasks import Task
from srwm.training.optimizer import build_optimizer, check_loss, clip_gradient, load_optimizer


class SequenceLoss(nn.Module):
    """Cross-entropy of all answers that have a target.

    Args:
        model: the model.
    """

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and the accuracy on the same answers.

        Args:
            batch: B sequences.

        Returns:
            Two scalars.
        """
        logits = self.model(batch)
        has_target = batch.targets != NO_TARGET
        answers, targets = logits[has_target], batch.targets[has_target]
        return F.cross_entropy(answers, targets), (answers.argmax(1) == targets).float().mean()


class Trainer:
    """A model with its optimizer.

    The sequences of a step depend on the seed of the run, on the number of the step and on the process alone.

    Args:
        config: the configuration.
        task: the task.
        fabric: the processes, each of which draws sequences of its own.
    """

    def __init__(self, config: TrainConfig, task: Task, fabric: Fabric) -> None:
        self.config = config
        self.task = task
        self.fabric = fabric
        self.model = SequenceModel(task, config.stack)
        loss = SequenceLoss(self.model)
        self._module, self._optimizer = fabric.setup(loss, build_optimizer(loss, config.optimizer))

    def step(self, number: int, lr: float) -> dict[str, float]:
        """One optimizer step.

        Args:
            number: the step, counted from 1.
            lr: its learning rate.

        Returns:
            `train_loss` and `train_accuracy`.

        Raises:
            UserError: the loss or the norm of the gradient is not finite; the weights have not changed then.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad()
        key = (self.config.seed, number, self.fabric.global_rank)
        batch = self.task.draw("train", key, self.config.batch_size, self.task.training)
        loss, accuracy = self._module(self.fabric.to_device(batch))
        check_loss(loss, number)
        self.fabric.backward(loss)
        clip_gradient(self._module, self.config.optimizer.clip_norm, number)
        self._optimizer.step()
        return {"train_loss": loss.item(), "train_accuracy": accuracy.item()}

    def get_state(self) -> dict[str, Any]:
        """Everything that determines later steps, except the model and the number of the step."""
        return {"optimizer": self._optimizer.state_dict()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a `get_state`.

        Args:
            state: what it returned.

        Raises:
            KeyError, TypeError, ValueError: it is malformed or does not fit.
        """
        load_optimizer(self._optimizer, state["optimizer"])
