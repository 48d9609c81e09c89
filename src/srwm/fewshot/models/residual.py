"""A model with three heads on one stem: class means, a memory, and both together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from srwm.fewshot.models.class_means import ClassMeans, class_sums, one_hot
from srwm.fewshot.models.config import HeadName, ModelConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import State
from srwm.nn.checks import check_state


class ResidualModel(FewShotModel):
    """Class-mean logits plus the memory's logits times a learned factor, which is 0 before training.

    So an untrained model is a class-mean classifier. The state is a pair: that of the stack, and the sums (B, N, F) and the
    counts (B, N) of the examples' codes.

    Args:
        config: the model.

    Raises:
        ValueError: the configuration is inconsistent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.class_means = ClassMeans(self.num_features)
        self.memory_scale = nn.Parameter(torch.zeros(()))

    def logits_of(self, known: Tensor, labels: Tensor, asked: Tensor, heads: Sequence[HeadName]) -> dict[HeadName, Tensor]:
        """Logits of each head for queries after labeled examples, each with gradients for its own weights only.

        Args:
            known: features (B, T, F) of the examples.
            labels: (B, T) int64, -1 (no label) to N - 1.
            asked: features (B, Q, F) of the queries.
            heads: the heads; without `memory` and `residual` the memory is not run.

        Returns:
            (B, Q, N) by head.
        """
        means = self.class_means
        sums, counts = class_sums(means.encode(known), labels, self.config.n_way)
        found: dict[HeadName, Tensor] = {"prototypes": means.logits(means.encode(asked), sums, counts)}
        if set(heads) - {"prototypes"}:
            found["memory"] = self.query_memory(asked, self.learn_memory(known, labels, None))
            found["residual"] = self.joined(found["prototypes"].detach(), found["memory"].detach())
        return {head: found[head] for head in heads}

    def joined(self, means: Tensor, memory: Tensor) -> Tensor:
        """Logits of the head `residual`.

        Args:
            means: logits of the head `prototypes`.
            memory: logits of the head `memory`.

        Returns:
            Logits of the same shape.
        """
        return means + self.memory_scale * memory

    def _run(
        self, features: Tensor, labels: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        remembered, sums, counts = self._begin(features, state)
        real = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
        memory, after = super()._run(features, labels, remembered, resets, mask)
        codes = self.class_means.encode(features).masked_fill(~real[..., None], 0)
        hot = one_hot(labels, self.config.n_way).to(codes) * real[..., None]
        logits = []
        for t in range(features.shape[1]):
            if resets is not None:
                sums = sums.masked_fill(resets[:, t, None, None], 0)
                counts = counts.masked_fill(resets[:, t, None], 0)
            logits.append(self.class_means.logits(codes[:, t : t + 1], sums, counts) * real[:, t, None, None])
            sums, counts = sums + hot[:, t, :, None] * codes[:, t, None], counts + hot[:, t]
        means = torch.cat([codes.new_zeros(len(codes), 0, self.config.n_way), *logits], dim=1)
        return self.joined(means, memory), (after, (sums, counts))

    def _learn(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        remembered, known, known_counts = self._begin(features, state)
        sums, counts = class_sums(self.class_means.encode(features), labels, self.config.n_way)
        return self.learn_memory(features, labels, remembered), (known + sums, known_counts + counts)

    def _query(self, features: Tensor, state: State | None) -> Tensor:
        remembered, sums, counts = self._begin(features, state)
        means = self.class_means.logits(self.class_means.encode(features), sums, counts)
        return self.joined(means, self.query_memory(features, remembered))

    def _begin(self, features: Tensor, state: State | None) -> tuple[State | None, Tensor, Tensor]:
        """The state of the stack, sums and counts."""
        batch, n_way, width = len(features), self.config.n_way, self.num_features
        if state is None:
            zeros = features.new_zeros(batch, n_way, width, dtype=torch.promote_types(features.dtype, torch.float32))
            return None, zeros, zeros[..., 0].clone()
        if not isinstance(state, tuple) or len(state) != 2:
            raise ValueError("state: expected a pair, that of the stack and the sums and counts of classes")
        remembered, examples = state
        check_state(examples, (torch.Size([n_way, width]), torch.Size([n_way])), batch)
        sums, counts = examples
        return remembered, sums, counts
