"""One optimizer step of training on random streams, and the state that it changes."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.data.draws import seeded
from srwm.streams.config import TrainConfig
from srwm.streams.model import StreamModel
from srwm.streams.prior import Streams, draw_streams
from srwm.streams.validation import is_known
from srwm.training.ema import EMA
from srwm.training.optimizer import build_optimizer, check_loss, clip_gradient, load_optimizer

_STRIDE = 2**20
_LENGTHS = 1
"""Key of the generator of lengths, whose numbers those of the streams do not depend on."""


class StreamLoss(nn.Module):
    """Cross-entropy of the answers to all samples whose class was shown before.

    Args:
        model: the model.
    """

    def __init__(self, model: StreamModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """The loss, and the accuracy on the same samples.

        Args:
            streams: a batch of streams.

        Returns:
            Two scalars.
        """
        logits, _ = self.model(streams.x, streams.present, streams.labels, delay=streams.delay)
        known = is_known(logits, streams.labels)
        answers, labels = logits[known], streams.labels[known]
        return F.cross_entropy(answers, labels), (answers.argmax(1) == labels).float().mean()


class Trainer:
    """A model with its optimizer and its EMA.

    The streams of a step depend on the seed of the run, on the number of the step and on the process alone.

    Args:
        config: the configuration.
        fabric: the processes, each of which draws streams of its own.
    """

    def __init__(self, config: TrainConfig, fabric: Fabric) -> None:
        self.config = config
        self.fabric = fabric
        self.model = StreamModel(config.model)
        loss = StreamLoss(self.model)
        self._module, self._optimizer = fabric.setup(loss, build_optimizer(loss, config.optimizer))
        self._ema = None if config.ema_decay is None else EMA(self.model, config.ema_decay)

    @property
    def validated_model(self) -> StreamModel:
        """The model that is validated and saved: the EMA if there is one."""
        return self.model if self._ema is None else self._ema.model

    def step(self, number: int, lr: float, spent: float) -> dict[str, float]:
        """One optimizer step.

        Args:
            number: the step, counted from 1.
            lr: its learning rate.
            spent: the fraction of the budget that is spent.

        Returns:
            `train_loss`, `train_accuracy` and `length`, the length of the step's streams.

        Raises:
            UserError: the loss or the norm of the gradient is not finite; the weights have not changed then.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad()
        seed = (self.config.seed * _STRIDE + number) * self.fabric.world_size + self.fabric.global_rank
        length = draw_length(self.config, seed, spent)
        streams = draw_streams(self.config.prior, seed, max(1, self.config.samples // length), length)
        loss, accuracy = self._module(self.fabric.to_device(streams))
        check_loss(loss, number)
        self.fabric.backward(loss)
        clip_gradient(self._module, self.config.optimizer.clip_norm, number)
        self._optimizer.step()
        if self._ema is not None:
            self._ema.update(self.model, number)
        return {"train_loss": loss.item(), "train_accuracy": accuracy.item(), "length": float(length)}

    def get_state(self) -> dict[str, Any]:
        """Everything that determines later steps, except the model and the number of the step."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "ema": None if self._ema is None else self._ema.model.state_dict(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a `get_state`.

        Args:
            state: what it returned.

        Raises:
            KeyError, TypeError, ValueError: it is malformed or does not fit.
        """
        load_optimizer(self._optimizer, state["optimizer"])
        if self._ema is not None:
            self._ema.model.load_state_dict(state["ema"])


def draw_length(config: TrainConfig, seed: int, spent: float) -> int:
    """The length of a step's streams: of those in use, the longest half of the time, else any other.

    Args:
        config: the configuration.
        seed: the seed of the step.
        spent: the fraction of the budget that is spent.

    Returns:
        The length in samples.
    """
    in_use = [length for length, start in zip(config.lengths, config.length_from, strict=True) if spent >= start]
    *shorter, longest = sorted(in_use)
    generator = seeded(seed, _LENGTHS)
    first, second = torch.rand(2, generator=generator, dtype=torch.float32, device="cpu").tolist()
    return longest if not shorter or first < 0.5 else shorter[int(second * len(shorter))]
