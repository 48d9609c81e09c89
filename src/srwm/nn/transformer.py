"""Causal softmax attention without positions: the memory of a Transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.nn.checks import check_whole, head_dim
from srwm.nn.layer import Core
from srwm.nn.state import State
from srwm.ops.dispatch import without_autocast


class Transformer(Core):
    """Causal multi-head softmax attention without positions; a block around it is one of a Transformer; Vaswani et al. (2017).

    A step reads itself and the `context` steps before it, in one sequence or carried over in the state. The state is the last
    keys and values, (B, context, d_model) each, latest last, and (B, context), 1 where there are some and 0 where not yet.

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        context: number of earlier steps that a step reads.

    Raises:
        ValueError: num_heads does not divide d_model, or context is below 1.
    """

    queries_in_parallel = True

    def __init__(self, d_model: int, num_heads: int, *, context: int = 1024) -> None:
        super().__init__(d_model)
        self.num_heads = num_heads
        self.head_dim = head_dim(d_model, num_heads)
        check_whole(context=context)
        if context < 1:
            raise ValueError(f"context: expected 1 or more, got {context}")
        self.context = context
        self.in_linear = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out_linear = nn.Linear(d_model, d_model, bias=False)

    @property
    def state_shape(self) -> tuple[torch.Size, torch.Size, torch.Size]:
        """Shapes of keys, values and which there are, of one batch element: twice (context, d_model), and (context,)."""
        kept = torch.Size((self.context, self.d_model))
        return kept, kept, torch.Size((self.context,))

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        q, k, v = self._project(x)
        memory = _Memory(k, v, self._used(state, k), resets, mask)
        y = _attend(q, memory.keys, memory.values, memory.before(self.context) | memory.own())
        return self._out(y, x), memory.last(self.context)

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        q, k, v = self._project(x)
        asked_q, asked_k, asked_v = self._project(queries)
        memory = _Memory(k, v, self._used(state, k), None, mask)
        before = memory.before(self.context)
        y = _attend(q, memory.keys, memory.values, before | memory.own())
        answers = _attend_and_own(asked_q, asked_k, asked_v, memory.keys, memory.values, before)
        return self._out(y, x), self._out(answers, x), memory.last(self.context)

    def _query(self, x: Tensor, state: State) -> Tensor:
        q, k, v = self._project(x)
        keys, values, there = self._used(state, k)
        visible = there.bool()[:, None].expand(-1, x.shape[1], -1)
        return self._out(_attend_and_own(q, k, v, keys, values, visible), x)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        projected: Tensor = self.in_linear(x)
        projected = projected.to(torch.promote_types(projected.dtype, torch.float32))  # as the state
        return projected.view(*x.shape[:2], 3, self.num_heads, self.head_dim).unbind(2)

    def _out(self, y: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.out_linear(y.flatten(2).to(x.dtype))
        return out

    def _used(self, state: State | None, k: Tensor) -> State:
        """The state by heads, without the places that are empty in the whole batch, which a compiler cannot see and keeps."""
        if state is None:
            return k[:, :0], k[:, :0], k.new_zeros(len(k), 0)
        keys, values, there = state
        if not torch.compiler.is_compiling():
            number = int(there.any(0).sum())  # they are the last
            keys, values, there = (part[:, self.context - number :] for part in state)
        keys, values = (part.view(*part.shape[:2], self.num_heads, self.head_dim) for part in (keys, values))
        return keys, values, there


class _Memory:
    """Keys and values of the state and of new steps, and which of them a step reads."""

    def __init__(self, k: Tensor, v: Tensor, state: State, resets: Tensor | None, mask: Tensor | None) -> None:
        keys, values, there = state
        self.steps = k.shape[1]
        self.carried = keys.shape[1]
        self.keys = torch.cat([keys, k], 1)
        self.values = torch.cat([values, v], 1)
        new = torch.ones(k.shape[:2], dtype=torch.bool, device=k.device) if mask is None else mask
        self.there = torch.cat([there.bool(), new], 1)
        begins = torch.zeros_like(new) if resets is None else resets
        self.episode = torch.cat([torch.zeros_like(there, dtype=torch.long), begins.long().cumsum(1)], 1)

    def own(self) -> Tensor:
        """(T, S) bool: each step itself, even where it is padded, so that every step reads something."""
        places = torch.arange(self.carried + self.steps, device=self.keys.device)
        return places == places[self.carried :, None]

    def before(self, context: int) -> Tensor:
        """(B, T, S) bool: the last `context` steps of the same episode before each step."""
        places = torch.arange(self.carried + self.steps, device=self.keys.device)
        rank = self.there.long().cumsum(1)
        earlier = rank[:, self.carried :] - self.there[:, self.carried :].long()
        near = rank[:, None] > earlier[..., None] - context
        same = self.episode[:, None] == self.episode[:, self.carried :, None]
        return self.there[:, None] & near & same & (places < places[self.carried :, None])

    def last(self, context: int) -> State:
        """The state after the last step."""
        current = self.episode == self.episode[:, -1:] if self.episode.shape[1] else torch.ones_like(self.there)
        there = self.there & current
        latest = there.long().argsort(dim=1, stable=True)[:, -context:]  # what is empty first, then in order
        there = there.gather(1, latest)
        which = latest[..., None].expand(-1, -1, self.keys.shape[2] * self.keys.shape[3])
        empty = context - there.shape[1]
        keys, values = (
            F.pad(part.flatten(2).gather(1, which).masked_fill(~there[..., None], 0), (0, 0, empty, 0))
            for part in (self.keys, self.values)
        )
        return keys, values, F.pad(there.to(keys.dtype), (empty, 0))


def _attend(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """Softmax attention: q (B, T, H, E), keys and values (B, S, H, E), visible (B, T, S) bool -> (B, T, H, E)."""
    with without_autocast(q):
        q, keys, values = (part.transpose(1, 2) for part in (q, keys, values))
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=visible[:, None]).transpose(1, 2)


def _attend_and_own(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """The same for questions, each of which also reads its own key and value, (B, T, H, E)."""
    own = torch.eye(q.shape[1], dtype=torch.bool, device=q.device).expand(len(q), -1, -1)
    return _attend(q, torch.cat([keys, k], 1), torch.cat([values, v], 1), torch.cat([visible, own], 2))
