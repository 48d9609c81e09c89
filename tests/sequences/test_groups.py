"""Groups are groups, and running products are products."""

import pytest
import torch

from srwm.sequences.groups import GROUP_NAMES, load_group, running_products


@pytest.mark.parametrize(("name", "size"), [("z2", 2), ("z3", 3), ("s3", 6), ("a5", 60)])
def test_tables_are_those_of_groups(name: str, size: int) -> None:
    table = load_group(name).table
    elements = torch.arange(size)
    assert table.shape == (size, size)
    assert load_group(name).size == size
    assert torch.equal(table[0], elements)
    assert torch.equal(table[:, 0], elements)
    assert all(torch.equal(row.sort().values, elements) for row in (*table, *table.T))
    a, b, c = torch.cartesian_prod(elements[:9], elements[:9], elements).T
    assert torch.equal(table[table[a, b], c], table[a, table[b, c]])


def test_s3_and_a5_are_not_commutative() -> None:
    tables = {name: load_group(name).table for name in GROUP_NAMES}
    assert {name for name, table in tables.items() if not torch.equal(table, table.T)} == {"s3", "a5"}


def test_products_permute_things_one_after_the_other() -> None:
    group = load_group("s3")
    things = "xyz"

    def reorder(order: str, word: str) -> str:
        return "".join(word[int(place) - 1] for place in order)

    for a, first in enumerate(group.names):
        for b, second in enumerate(group.names):
            product = group.names[group.table[a, b]]
            assert reorder(product, things) == reorder(first, reorder(second, things))


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_running_products_are_those_of_a_loop(length: int) -> None:
    table = load_group("a5").table
    words = torch.randint(60, (5, length), generator=torch.Generator().manual_seed(length))
    products = running_products(table, words)
    state = torch.zeros(5, dtype=torch.long)
    for t in range(length):
        state = table[state, words[:, t]]
        assert torch.equal(products[:, t], state)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="group: expected one of z2, z3, s3, a5, got 's4'"):
        load_group("s4")
