"""The answers of `srwm.StreamClassifier` along whole streams, many side by side, as its model computes them in one pass.

They are those of `predict_one` and `learn_one` up to rounding, and take a small part of their time.
"""

from collections.abc import Sequence

import numpy as np
import torch

from srwm.learner.streams.encoder import Encoder
from srwm.streams.datasets import LabeledStream
from srwm.streams.model import StreamModel
from srwm.streams.prequential import PrequentialResult

_PIECE = 500
"""Samples in a pass, which bounds the memory."""


@torch.inference_mode()
def answer_together(model: StreamModel, streams: Sequence[LabeledStream]) -> list[PrequentialResult]:
    """The answers to several streams; `seconds_per_sample` is NaN, since no sample is answered alone."""
    length = max(len(stream.rows) for stream in streams)
    config = model.config
    x = torch.zeros(len(streams), length, config.num_features)
    present = torch.zeros(len(streams), length, config.num_features, dtype=torch.bool)
    labels = torch.full((len(streams), length), -1)
    for number, stream in enumerate(streams):
        slots = slots_of(stream)
        _, encoded = Encoder(config.num_features).learned(stream.rows)
        count = len(stream.rows)
        x[number, :count], present[number, :count] = map(torch.from_numpy, encoded)
        labels[number, :count] = torch.tensor([slots[label] for label in stream.labels])
    state = model.initial_state(len(streams))
    answers = []
    for start in range(0, length, _PIECE):
        piece = slice(start, start + _PIECE)
        logits, state = model(x[:, piece], present[:, piece], labels[:, piece], state)
        answers.append(logits.argmax(2))
    chosen = torch.cat(answers, 1).numpy()
    return [result(stream, answers[: len(stream.rows)]) for stream, answers in zip(streams, chosen, strict=True)]


def slots_of(stream: LabeledStream) -> dict[object, int]:
    """The class slot of each label, in order of appearance."""
    return {label: slot for slot, label in enumerate(dict.fromkeys(stream.labels))}


def result(stream: LabeledStream, chosen: np.ndarray) -> PrequentialResult:
    """What was answered, from the slots (T,); before the first label there is no answer."""
    names = list(slots_of(stream))
    predictions = [None, *(names[slot] for slot in chosen[1:].tolist())]
    correct = np.array([given == label for given, label in zip(predictions, stream.labels, strict=True)], dtype=bool)
    return PrequentialResult(stream.labels, predictions, correct, float("nan"))
