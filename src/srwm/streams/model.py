"""A model that learns a stream of samples as they come."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.nn import Stack, State
from srwm.ops.checks import check_shape
from srwm.streams.bound import MemoryBound, has_matrices
from srwm.streams.config import ModelConfig
from srwm.streams.experts import EXPERTS, Advice, ExpertState, advise, initial_experts
from srwm.streams.metadata import StreamMetadata
from srwm.streams.statistics import Statistics, follow, standardize

_TRUST = 1.5
"""Sum of the experts' weights at the beginning of training."""


class StreamState(NamedTuple):
    """What a model knows of B streams; batch axis first in every tensor."""

    statistics: Statistics
    """running statistics of the features"""
    seen: Tensor
    """classes that were shown (B, C) bool"""
    number: Tensor
    """number of samples shown (B,) int64"""
    memory: State
    """state of the stack"""
    experts: ExpertState | tuple[()]
    """state of the experts; empty where the model has none"""


class StreamModel(nn.Module):
    """Answers each sample of a stream, then is shown its label; no gradient step is taken.

    A sample is two inputs of the stack: the question (its features without a label) and the example (with its label). Features
    are standardized by running statistics. The state is bounded for streams of any length.

    With experts, both also hold what simple online learners (`srwm.streams.experts`) answer from the same examples, and how
    well each did lately. The logits are the stack's own, zero at the beginning of training, plus the log-probabilities of the
    experts, each with a weight that the stack gives it for this sample.

    With `steps="query"`, a question changes nothing. With `steps="interleaved"`, for cores that do not evaluate queries in
    parallel, `forward` writes each question into the memory as well, also that of a sample without a label; `query` never does.

    Args:
        config: sizes and core.

    Raises:
        ValueError: sizes or options do not fit.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.metadata = StreamMetadata()
        width = config.stack.d_model
        num_experts = len(EXPERTS) if config.experts else 0
        inputs = 2 * config.num_features + 1 + num_experts * (config.num_classes + 2)
        self.features = nn.Sequential(nn.Linear(inputs, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.labels = nn.Embedding(config.num_classes + 1, width)
        self.norm = nn.LayerNorm(width)
        self.stack = Stack(config.stack)
        is_bounded = any(has_matrices(shape) for shape in self.stack.state_shape)
        self.bound = MemoryBound(self.stack, config.bound_init) if is_bounded else None
        readout = nn.Linear(width, config.num_classes + num_experts)
        if config.experts:
            nn.init.zeros_(readout.weight)
            nn.init.zeros_(readout.bias)
            nn.init.constant_(readout.bias[config.num_classes :], _TRUST / num_experts)
        self.out = nn.Sequential(nn.LayerNorm(width), readout)

    def check_state(self, state: StreamState) -> None:
        """Check numbers in a state from elsewhere that are places in memory.

        Args:
            state: a state with the shapes and dtypes of this model's.

        Raises:
            ValueError: the number of samples or a class in the experts' window is out of its range.
        """
        if (state.number < 0).any():
            raise ValueError(f"number: expected 0 or more, got {int(state.number.min())}")
        if state.experts:
            lowest, highest = state.experts.labels.aminmax()
            if lowest < 0 or highest >= self.config.num_classes:
                raise ValueError(
                    f"labels: expected classes below {self.config.num_classes}, got {int(lowest)} to {int(highest)}"
                )

    def initial_state(self, batch_size: int) -> StreamState:
        """The state of streams that have not begun.

        Args:
            batch_size: number of streams B.

        Returns:
            The state, on the model's device.
        """
        device = self.labels.weight.device
        zeros = torch.zeros(4, batch_size, self.config.num_features, dtype=torch.float64, device=device)
        seen = torch.zeros(batch_size, self.config.num_classes, dtype=torch.bool, device=device)
        count = torch.zeros(batch_size, dtype=torch.long, device=device)
        sizes = batch_size, self.config.num_features, self.config.num_classes, self.config.window
        experts = initial_experts(*sizes, device) if self.config.experts else ()
        return StreamState(Statistics(*zeros), seen, count, self.stack.initial_state(batch_size), experts)

    def forward(
        self,
        x: Tensor,
        present: Tensor,
        labels: Tensor,
        state: StreamState | None = None,
        delay: Tensor | None = None,
    ) -> tuple[Tensor, StreamState]:
        """Answer samples, each before its label is shown.

        Args:
            x: values of the features (B, T, F).
            present: False for a missing value and for an unused slot (B, T, F) bool.
            labels: classes (B, T) int64, from 0; -1: the label is never shown, and the example is not learned; an interleaved
                model still writes the question.
            state: what an earlier call returned; None: the streams begin.
            delay: (B,) int64; the example of sample t is shown after the answer to sample t + delay. It needs whole streams;
                examples that would follow the last answer are not learned. Questions are written, where they are, at their
                own time. None: no delay.

        Returns:
            logits (B, T, C), and the state after the last sample. Logits of classes that were not shown before are -inf;
            where none was, all are 0.

        Raises:
            ValueError: a shape or a dtype does not fit, or a label is not below C.
        """
        self._check(x, present)
        _check_labels(labels, x, self.config.num_classes)
        state = self.initial_state(len(x)) if state is None else state
        shown, x_shown, present_shown = labels, x, present
        if delay is not None and not delay.any():
            delay = None
        if delay is not None:
            shown, x_shown, present_shown = _delayed(delay, labels, x, present)
        learned = shown >= 0
        before, statistics = follow(x_shown, present_shown & learned[..., None], state.statistics)
        added = F.one_hot(shown.clamp(min=0), self.config.num_classes) * learned[..., None]
        seen = state.seen[:, None] | (added.cumsum(1) > added)
        count = state.number[:, None] + learned.cumsum(1) - learned.long()
        z = standardize(x, present, before)
        z_shown = z if delay is None else standardize(x_shown, present_shown, before)
        advice, experts = self._advice(z, z_shown, shown, state)
        asked = self._features(z, present, count, advice.answers, advice.losses)
        given = asked
        if delay is not None:
            given = self._features(z_shown, present_shown, count, advice.answers_given, advice.losses)
        questions = self._with_label(asked, torch.full_like(shown, self.config.num_classes))
        examples = self._with_label(given, shown.clamp(min=0))
        y, memory = self._remember(questions, examples, learned, state)
        after = StreamState(statistics, state.seen | added.any(1), state.number + learned.sum(1), memory, experts)
        return self._logits(y, seen, advice.answers), after

    def query(self, x: Tensor, present: Tensor, state: StreamState) -> Tensor:
        """Answer samples from one state, each as if it were the next one. The state does not change.

        Args:
            x: values of the features (B, Q, F).
            present: False for a missing value and for an unused slot (B, Q, F) bool.
            state: what `forward` or `initial_state` returned.

        Returns:
            logits (B, Q, C), as from `forward`.

        Raises:
            ValueError: a shape or a dtype does not fit.
        """
        self._check(x, present)
        before = Statistics(*(part[:, None].expand_as(x) for part in state.statistics))
        count = state.number[:, None].expand(x.shape[:2])
        z = standardize(x, present, before)
        advice, _ = self._advice(z, z, torch.full_like(count, -1), state)
        features = self._features(z, present, count, advice.answers, advice.losses)
        questions = self._with_label(features, torch.full_like(count, self.config.num_classes))
        return self._logits(self.stack.query(questions, state.memory), state.seen[:, None], advice.answers)

    def _remember(self, questions: Tensor, examples: Tensor, learned: Tensor, state: StreamState) -> tuple[Tensor, State]:
        """Run the stack, in pieces at whose ends the memory is bounded; returns its outputs for the questions."""
        if self.bound is None:
            return self._run(questions, examples, learned, state.memory)
        every, count = self.config.bound_every, state.number[:, None] + learned.cumsum(1)
        is_full = learned & (count % every == 0)
        ends = [*(is_full.any(0).nonzero().flatten() + 1).tolist(), questions.shape[1]]
        outputs, memory = [questions[:, :0]], state.memory
        for start, end in pairwise(sorted({0, *ends})):
            y, memory = self._run(questions[:, start:end], examples[:, start:end], learned[:, start:end], memory)
            outputs.append(y)
            memory = self.bound(memory, is_full[:, end - 1])
        return torch.cat(outputs, 1), memory

    def _run(self, questions: Tensor, examples: Tensor, learned: Tensor, memory: State) -> tuple[Tensor, State]:
        mask = None if bool(learned.all()) else learned
        if self.config.steps == "query":
            _, y, memory = self.stack.forward_with_queries(examples, questions, memory, mask)
            return y, memory
        steps = torch.stack([questions, examples], 2).flatten(1, 2)
        mask = None if mask is None else torch.stack([torch.ones_like(mask), mask], 2).flatten(1, 2)
        y, memory = self.stack(steps, memory, mask=mask)
        return y[:, ::2], memory

    def _advice(
        self, asked: Tensor, given: Tensor, labels: Tensor, state: StreamState
    ) -> tuple[Advice, ExpertState | tuple[()]]:
        """The experts' answers and their state after the examples; those of no experts where the model has none."""
        if state.experts:
            return advise(asked, given, labels, state.number, state.seen, state.experts)
        none, losses = (asked.new_empty(*labels.shape, 0, size) for size in (self.config.num_classes, 2))
        return Advice(none, none, losses), ()

    def _features(self, z: Tensor, present: Tensor, count: Tensor, answers: Tensor, losses: Tensor) -> Tensor:
        number = (count + 1).clamp(max=self.config.max_count).log()[..., None] / 6
        inputs = [z, present.to(z.dtype), number.to(z.dtype), answers.flatten(2) / 4, losses.flatten(2) - 1]
        features: Tensor = self.features(torch.cat(inputs, -1))
        return features

    def _with_label(self, features: Tensor, labels: Tensor) -> Tensor:
        both: Tensor = self.norm(features + self.labels(labels))
        return both

    def _logits(self, y: Tensor, seen: Tensor, answers: Tensor) -> Tensor:
        own, weights = self.out(y).tensor_split((self.config.num_classes,), -1)
        logits = own + (weights[..., None, :] @ answers)[..., 0, :]
        return torch.where(seen.any(-1, keepdim=True), logits.masked_fill(~seen, -torch.inf), 0.0)

    def _check(self, x: Tensor, present: Tensor) -> None:
        width = self.config.num_features
        if x.dim() != 3 or x.shape[2] != width or not x.is_floating_point():
            raise ValueError(f"x: expected (B, T, {width}) floating, got {tuple(x.shape)} {x.dtype}")
        check_shape("present", present, f"(B, T, {width})", x.shape)
        if present.dtype is not torch.bool:
            raise ValueError(f"present: expected dtype torch.bool, got {present.dtype}")


def _check_labels(labels: Tensor, x: Tensor, num_classes: int) -> None:
    check_shape("labels", labels, "(B, T)", x.shape[:2])
    if labels.dtype is not torch.long:
        raise ValueError(f"labels: expected dtype torch.int64, got {labels.dtype}")
    if labels.numel() and int(labels.max()) >= num_classes:
        raise ValueError(f"labels: expected classes below {num_classes}, got {int(labels.max())}")


def _delayed(delay: Tensor, labels: Tensor, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The examples at each position: those of `delay` positions before, where there are any."""
    at = torch.arange(labels.shape[1], device=x.device) - delay[:, None]
    index = at.clamp(min=0)
    wide = index[..., None].expand_as(x)
    return labels.gather(1, index).masked_fill(at < 0, -1), x.gather(1, wide), present.gather(1, wide)
