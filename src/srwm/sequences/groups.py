"""Permutation groups, and running products of their elements."""

from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor


class Group(NamedTuple):
    """A finite group; its elements are numbers from 0, and 0 is the identity."""

    names: tuple[str, ...]
    """the elements as images of 1, 2, ..."""
    table: Tensor
    """the product of two elements: `table[a, b]` is a, then b (n, n) int64"""

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.names)


def _group(elements: list[tuple[int, ...]]) -> Group:
    place = {element: i for i, element in enumerate(elements)}
    table = [[place[tuple(b[image] for image in a)] for b in elements] for a in elements]
    names = tuple("".join(str(image + 1) for image in element) for element in elements)
    return Group(names, torch.tensor(table, dtype=torch.long, device="cpu"))


def _rotations(size: int) -> list[tuple[int, ...]]:
    return [tuple((i + turn) % size for i in range(size)) for turn in range(size)]


def _is_even(element: tuple[int, ...]) -> bool:
    inversions = sum(element[i] > element[j] for j in range(len(element)) for i in range(j))
    return inversions % 2 == 0


GROUP_NAMES = ("z2", "z3", "s3", "a5")


@lru_cache
def load_group(name: str) -> Group:
    """A group by its name.

    Args:
        name: z2 or z3, the rotations of two and three things; s3, all orders of three; a5, the even orders of five.

    Returns:
        The group; its elements are sorted as tuples of images.

    Raises:
        ValueError: there is no such group.
    """
    match name:
        case "z2" | "z3":
            return _group(_rotations(int(name[1])))
        case "s3":
            return _group(list(permutations(range(3))))
        case "a5":
            return _group([element for element in permutations(range(5)) if _is_even(element)])
        case _:
            raise ValueError(f"group: expected one of {', '.join(GROUP_NAMES)}, got {name!r}")


def running_products(table: Tensor, elements: Tensor) -> Tensor:
    """The product of the elements so far, at every step.

    Args:
        table: the products of pairs (n, n).
        elements: (B, T) int64.

    Returns:
        (B, T) int64.
    """
    products, reach = elements.clone(), 1
    while reach < elements.shape[1]:  # after each turn, products of the last `reach` elements
        products[:, reach:] = table[products[:, :-reach], products[:, reach:]]
        reach *= 2
    return products
