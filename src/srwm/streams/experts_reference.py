"""The experts in PyTorch, sample by sample: what the compiled library computes, and what serves where there is none.

For a stream with classes c and standardized features z, of which those count that have varied:

- Naive Bayes: log(n_c + 1/2) + log N(z; m_c, v_c), where n_c, m_c and v_c are the exponentially forgotten weight, mean and
  variance of the class. The mean is shrunk by half an example towards 0, the variance by ten examples towards the variance
  within classes, and 0.01 is added to it.
- Least squares: recursive, of the one-hot label on (z, 1), with ridge 1 and exponential forgetting, under which no variance of
  a coefficient exceeds its initial value.
- Neighbors: examples of the window vote with exp(-2 (d - d_1) / (d_8 - d_1)), where d is the squared distance and d_k that of
  the k-th nearest; votes below exp(-8) do not count. Features weigh alike, or by their relevance: the share of their variance
  that lies between classes (the correlation ratio, less what chance would give it), plus 0.05 of its mean and 0.001.
"""

import torch
from torch import Tensor

BAYES_KEPT = (1 - 1 / 500, 1 - 1 / 40)
REGRESSION_KEPT = (1 - 1 / 1000, 1 - 1 / 100)
LOSS_RATES = (0.05, 0.005)
RECENT, NEAREST, FLOOR = 120, 8, -8.0


def follow(
    asked: Tensor,
    given: Tensor,
    labels: Tensor,
    number: Tensor,
    seen: Tensor,
    sums: Tensor,
    window: Tensor,
    window_labels: Tensor,
) -> tuple[Tensor, ...]:
    """Answers to a sequence of samples, each before the example of the same step is learned.

    Args:
        asked: standardized features of the samples (B, T, F).
        given: those of the examples (B, T, F).
        labels: classes of the examples (B, T); below 0: nothing is learned.
        number: number of examples learned before (B,).
        seen: classes that were shown before (B, C).
        sums: of the state (B, S) float64.
        window: of the state (B, F, W).
        window_labels: of the state (B, W).

    Returns:
        answers (B, T, E, C), those to the examples (B, T, E, C), losses (B, T, E, 2), and the three parts of the state.
    """
    experts = _Experts(number.clone(), seen.clone(), sums.clone(), window.clone(), window_labels.clone())
    batch, steps, _ = asked.shape
    answers, answers_given, losses = [], [], []
    for t in range(steps):
        losses.append(experts.losses.float())
        answers.append(experts.answer(asked[:, t]))
        answers_given.append(answers[-1] if asked is given else experts.answer(given[:, t]))
        experts.learn(given[:, t], labels[:, t], answers_given[-1])
    num_experts, num_classes = experts.losses.shape[1], seen.shape[1]
    empty = [asked.new_empty(batch, 0, num_experts, n) for n in (num_classes, num_classes, 2)]
    stacked = [
        torch.stack(parts, 1) if parts else none for parts, none in zip((answers, answers_given, losses), empty, strict=True)
    ]
    return (*stacked, experts.sums, experts.window, experts.window_labels)


class _Experts:
    """The experts of B streams, whose state changes in place."""

    def __init__(self, number: Tensor, seen: Tensor, sums: Tensor, window: Tensor, window_labels: Tensor) -> None:
        self.number, self.seen, self.sums, self.window, self.window_labels = number, seen, sums, window, window_labels
        batch, num_features = window.shape[:2]
        side, num_classes = num_features + 1, seen.shape[1]
        shapes = ((2, num_classes), (2, num_classes, num_features), (2, num_classes, num_features), (2, side, side))
        parts, at = [], 0
        for shape in (*shapes, (2, side, num_classes), (-1, 2)):
            size = torch.Size(shape).numel() if shape[0] > 0 else sums.shape[1] - at
            parts.append(sums[:, at : at + size].view(batch, *shape))
            at += size
        self.weights, self.totals, self.squares, self.covariance, self.coefficients, self.losses = parts

    def answer(self, z: Tensor) -> Tensor:
        """Log-probabilities (B, E, C) for samples (B, F)."""
        used = self.squares[:, 0].sum(1) > 0
        values = z.double()
        distances = (self.window - z[..., None]).square()
        plain = distances.masked_fill(~used[..., None], 0).sum(1)
        weighted = (distances * self._relevance(used)[..., None]).sum(1)
        scores = [self._bayes(values, used, rate) for rate in range(2)]
        scores += [self._least_squares(values, used, rate) for rate in range(2)]
        window = self.window.shape[2]
        scores += [self._neighbors(*pair) for pair in ((plain, window), (weighted, window), (weighted, RECENT))]
        known = self.seen[:, None]
        answers = torch.stack(scores, 1).masked_fill(~known, -torch.inf).log_softmax(-1).clamp(min=FLOOR)
        return answers.masked_fill(~known, FLOOR).masked_fill(~self.seen.any(1)[:, None, None], 0)

    def learn(self, z: Tensor, labels: Tensor, answers: Tensor) -> None:
        """Learn examples (B, F) of the classes labels (B,), those that are not below 0."""
        learned = labels >= 0
        label = labels.clamp(min=0)
        was_seen = learned & self.seen.gather(1, label[:, None])[:, 0]
        rates = self.sums.new_tensor(LOSS_RATES)
        found = -answers.gather(2, label[:, None, None].expand(-1, answers.shape[1], 1)).double()
        self.losses += rates * (found - self.losses) * was_seen[:, None, None]

        one_hot = torch.nn.functional.one_hot(label, self.seen.shape[1]).double() * learned[:, None]
        values = z.double()
        kept = torch.where(learned[:, None], self.sums.new_tensor(BAYES_KEPT), 1.0)
        self.weights.mul_(kept[..., None]).add_(one_hot[:, None])
        self.totals.mul_(kept[..., None, None]).add_((one_hot[..., None] * values[:, None])[:, None])
        self.squares.mul_(kept[..., None, None]).add_((one_hot[..., None] * values.square()[:, None])[:, None])
        for rate in range(2):
            self._regress(values, one_hot, learned, rate)

        (which,) = learned.nonzero(as_tuple=True)
        at = self.number[which] % self.window.shape[2]
        self.window[which, :, at] = z[which]
        self.window_labels[which, at] = label[which].int()
        self.seen |= one_hot > 0
        self.number += learned

    def _bayes(self, z: Tensor, used: Tensor, rate: int) -> Tensor:
        weight, total, square = (part[:, rate] for part in (self.weights, self.totals, self.squares))
        n, shown = weight.sum(1, keepdim=True), self.seen.sum(1, keepdim=True)
        own = (square - total.square() / weight[..., None].clamp(min=1e-300)).masked_fill(weight[..., None] <= 1e-9, 0)
        within = (own.sum(1) + 2).clamp(min=0) / (n + 2 - 0.999 * torch.minimum(n, shown.double()))
        mean = total / (weight + 0.5)[..., None]
        spread = (square - mean * (2 * total - weight[..., None] * mean)).clamp(min=0)
        variance = (spread + 10 * within[:, None]) / (weight[..., None] + 10) + 0.01
        each = (z[:, None] - mean).square() / variance + variance.log()
        return ((weight + 0.5).log() - each.masked_fill(~used[:, None], 0).sum(2) / 2).float()

    def _least_squares(self, z: Tensor, used: Tensor, rate: int) -> Tensor:
        coefficients = self.coefficients[:, rate]
        share = coefficients[:, -1] + ((z * used)[..., None] * coefficients[:, :-1]).sum(1)
        return share.clamp(min=0.01).log().float()

    def _relevance(self, used: Tensor) -> Tensor:
        weight, total, square = (part[:, 0] for part in (self.weights, self.totals, self.squares))
        n, shown = weight.sum(1, keepdim=True), self.seen.sum(1, keepdim=True)
        between = (total.square() / weight[..., None].clamp(min=1e-300)).masked_fill(weight[..., None] <= 1e-9, 0).sum(1)
        level = (total.sum(1).square() / n.clamp(min=1e-300)).masked_fill(n <= 1e-9, 0)
        spread = square.sum(1) - level
        share = torch.where(spread > 1e-9, (between - level) / spread, 0)
        share = (share - (shown - 1) * (1 - share) / (n - shown).clamp(min=1)).clamp(min=0) * used
        mean = share.sum(1, keepdim=True) / used.sum(1, keepdim=True).clamp(min=1)
        return ((share + 0.05 * mean + 1e-3) * used).float()

    def _neighbors(self, squared: Tensor, recent: int) -> Tensor:
        width = squared.shape[1]
        age = (self.number[:, None] - 1 - torch.arange(width, device=squared.device)) % width
        counts = age < self.number[:, None].clamp(max=recent)
        squared = squared.masked_fill(~counts, torch.inf)
        nearest = squared.topk(min(NEAREST, width), largest=False).values
        low, kept = nearest[:, :1], (counts.sum(1, keepdim=True).clamp(max=nearest.shape[1]) - 1).clamp(min=0)
        scale = 2 / (nearest.gather(1, kept) - low + 1e-3 * low + 1e-6)
        votes = ((low - squared) * scale).exp().masked_fill(~counts | (squared >= low + 8 / scale), 0)
        found = torch.zeros_like(self.seen, dtype=votes.dtype).scatter_add(1, self.window_labels.long(), votes)
        shown = self.seen.sum(1, keepdim=True).clamp(min=1)
        return ((found + 0.5 / shown) / (found.sum(1, keepdim=True) + 0.5)).log()

    def _regress(self, z: Tensor, one_hot: Tensor, learned: Tensor, rate: int) -> None:
        covariance, coefficients = self.covariance[:, rate], self.coefficients[:, rate]
        x = torch.cat([z, torch.ones_like(z[:, :1])], 1)
        grown = covariance.diagonal(dim1=1, dim2=2).rsqrt().clamp(max=REGRESSION_KEPT[rate] ** -0.5)
        new = covariance * (grown[:, :, None] * grown[:, None])
        gain = (new @ x[..., None])[..., 0]
        spread = 1 + (x * gain).sum(1)[:, None]
        error = (one_hot - (x[:, None] @ coefficients)[:, 0]) / spread
        new = new - gain[:, :, None] * gain[:, None] / spread[..., None]  # symmetric to the last bit: a difference would grow
        self.covariance[:, rate] = torch.where(learned[:, None, None], new, covariance)
        changed = coefficients + gain[..., None] * error[:, None]
        self.coefficients[:, rate] = torch.where(learned[:, None, None], changed, coefficients)
