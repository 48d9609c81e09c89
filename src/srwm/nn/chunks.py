"""Sequences cut into chunks of equal numbers of steps, counted from the last reset on."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chunks:
    """The N chunks of C places over which the steps of a piece of a sequence are laid out. The first goes on with one that
    an earlier piece began, if there is any in the batch."""

    index: Tensor
    """(B, N C): the step at each place; T where there is none."""

    place: Tensor
    """(B, T): the place of each step, any for one that is masked."""

    size: int
    """The number C of places in a chunk."""

    fresh: Tensor
    """(B, N) bool: the state is fresh before this chunk."""

    opened: Tensor
    """(B, N) bool: this chunk has begun in this piece, and has a step."""

    position: Tensor
    """(B,): the number of steps in the last chunk after the piece, 0 where it is full."""

    cleared: Tensor
    """(B,) bool: the state is fresh after the piece."""

    @property
    def real(self) -> Tensor:
        """(B, N, C) bool: whether there is a step at this place."""
        return self._by_chunk(self.index < self.place.shape[1])

    def gather(self, x: Tensor) -> Tensor:
        """Lay steps out.

        Args:
            x: (B, T, ...).

        Returns:
            (B, N, C, ...), zero where there is no step.
        """
        padded = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        return self._by_chunk(_gather(padded, self.index))

    def steps(self, y: Tensor) -> Tensor:
        """Take steps back.

        Args:
            y: (B, N, C, ...).

        Returns:
            (B, T, ...), anything at masked steps.
        """
        return _gather(y.flatten(1, 2), self.place)

    def _by_chunk(self, places: Tensor) -> Tensor:
        return places.view(len(places), places.shape[1] // self.size, self.size, *places.shape[2:])


def chunks_of(position: Tensor, steps: int, resets: Tensor | None, mask: Tensor | None, size: int) -> Chunks:
    """Lay the steps of a piece of a sequence out over chunks.

    Args:
        position: (B,): number of steps in the chunk with which the piece goes on; 0: the piece begins with a chunk.
        steps: number T of steps, 1 or more.
        resets: (B, T) bool; True: a chunk begins with this step, or with the next that is not masked. None: there are none.
        mask: (B, T) bool; False: a padded step, which has no place. None: there are none.
        size: number C of steps in a chunk.

    Returns:
        The chunks.
    """
    shape, device = (len(position), steps), position.device
    real = torch.ones(shape, dtype=torch.bool, device=device) if mask is None else mask
    begins = torch.zeros(shape, dtype=torch.bool, device=device) if resets is None else resets
    earlier = real.long().cumsum(1) - real.long()
    origin = torch.where(begins, earlier, -position.long()[:, None]).cummax(1).values
    count = earlier - origin
    begun = begins.long().cumsum(1) > 0
    opens = real & (count % size == 0)
    chunk = opens.long().cumsum(1) - int(not position.any())
    number = max(int(chunk.max()) + 1, 1) if len(position) else 1
    place = torch.where(real, chunk * size + count % size, number * size)
    which = torch.where(opens, chunk, number)
    index = torch.full((shape[0], number * size + 1), steps, dtype=torch.long, device=device)
    index = index.scatter(1, place, torch.arange(steps, dtype=torch.long, device=device).expand(shape))
    none = torch.zeros(shape[0], number + 1, dtype=torch.bool, device=device)
    after = count[:, -1] + real[:, -1].long()
    return Chunks(
        index=index[:, :-1],
        place=place.clamp(max=number * size - 1),
        size=size,
        fresh=none.scatter(1, which, opens & begun & (count == 0))[:, :-1],
        opened=none.scatter(1, which, opens)[:, :-1],
        position=after % size,
        cleared=begun[:, -1] & (after == 0),
    )


def _gather(x: Tensor, index: Tensor) -> Tensor:
    return x.gather(1, index.view(*index.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:]))
