"""A number out of the range at its field is refused by the field's name, wherever the field is."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest
import tyro

from srwm.errors import UserError
from srwm.ranges import Above, AtLeast, Between, Finite, HalfOpen, Seed
from srwm.training.configuration import check_values


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, HalfOpen(0, 1)] = 0.5
    lambda_: Annotated[float, Between(0, 1), tyro.conf.arg(name="lambda")] = 0.5


@dataclass(frozen=True)
class Outer:
    count: Annotated[int, AtLeast(2)] = 2
    lr: Annotated[float, Above(0), Finite()] = 0.1
    limit: Annotated[float, Above(0)] | None = None
    sizes: tuple[Annotated[int, AtLeast(1)], ...] = (1, 2)
    seed: Seed = 0
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Outer(count=1), "count: expected 2 or more, got 1"),
        (Outer(lr=0), "lr: expected a number above 0, got 0"),
        (Outer(lr=float("inf")), "lr: expected a finite number, got inf"),
        (Outer(limit=-1.5), "limit: expected a number above 0, got -1.5"),
        (Outer(sizes=(3, 0)), r"sizes: expected 1 or more, got \(3, 0\)"),
        (Outer(seed=2**63), r"seed: expected a number from 0 below 2\*\*63, got 9223372036854775808"),
        (Outer(seed=-1), r"seed: expected a number from 0 below 2\*\*63, got -1"),
        (Outer(inner=Inner(share=1)), r"inner\.share: expected a number from 0 below 1, got 1"),
        (Outer(inner=Inner(lambda_=1.5)), r"inner\.lambda: expected a number from 0 to 1, got 1.5"),
        (Outer(count="2"), "count: expected int, got '2'"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(config, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        check_values(config)


def test_the_ends_that_belong_to_a_range_pass():
    check_values(Outer(2, 1e-9, None, (), 2**63 - 1, Inner(0.0, 1.0)))
    check_values(Outer(limit=float("inf"), inner=Inner(0.0, 0.0)))
    check_values(Outer(inner=Inner(share=2)), nested=False)


def test_the_program_reads_annotated_fields():
    read = tyro.cli(Outer, args=["--count", "3", "--limit", "2.5", "--inner.lambda", "1", "--sizes", "4", "5"])
    assert read == Outer(3, limit=2.5, sizes=(4, 5), inner=Inner(lambda_=1.0))
