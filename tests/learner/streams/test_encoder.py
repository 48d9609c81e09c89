import math
import random
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from srwm.learner.streams.encoder import MAX_FEATURES, MAX_VALUES, Encoder
from srwm.learner.streams.projection import Projection

from .conftest import points


def learned(*samples: dict, slots: int = 6) -> Encoder:
    return Encoder(slots).learned(samples)[0]


def shown(encoder: Encoder, sample: dict) -> list[float | None]:
    """The value in each slot; None where missing."""
    x, present = encoder.encoded([sample])
    return [value if there else None for value, there in zip(x[0].tolist(), present[0].tolist(), strict=True)]


def test_numbers_have_a_slot_each_in_the_order_of_appearance() -> None:
    encoder = learned({"b": 1.0}, {"a": 2, "c": True})
    assert shown(encoder, {"a": 5.0, "b": 6, "c": False}) == [6.0, 5.0, 0.0, None, None, None]
    assert shown(encoder, {"c": np.float32(1.5), "d": 7.0}) == [None, None, 1.5, 7.0, None, None]


def test_the_order_within_a_dict_does_not_matter() -> None:
    sample = {"b": 1.0, 10: 2.0, "a": "x", 9: 3.0, "c": "y"}
    items = list(sample.items())
    random.Random(0).shuffle(items)
    one, other = learned(sample), learned(dict(items))
    assert one.keys == other.keys
    assert shown(one, sample) == shown(other, sample) == [3.0, 2.0, 1.0, 1.0, 1.0, None]


def test_a_category_has_a_slot_for_each_value() -> None:
    encoder = learned({"color": "red"}, {"n": 1.0}, {"color": "blue"})
    assert shown(encoder, {"color": "red", "n": 3.0}) == [1.0, 3.0, 0.0, None, None, None]
    assert shown(encoder, {"color": "blue"}) == [0.0, None, 1.0, None, None, None]
    assert shown(encoder, {"color": "green"}) == [0.0, None, 0.0, 1.0, None, None]
    assert shown(encoder, {"n": 0.0}) == [None, 0.0, None, None, None, None]
    assert len(encoder.keys) == 3


@pytest.mark.parametrize("value", [b"a", ("a", 1), date(2020, 1, 1), frozenset({1}), np.str_("a"), np.datetime64("2020")])
def test_hashable_values_are_categories(value) -> None:
    encoder = learned({"f": value}, {"f": "other"})
    assert shown(encoder, {"f": value})[:2] == [1.0, 0.0]


@pytest.mark.parametrize("missing", [None, math.nan, np.nan, np.float32("nan"), np.datetime64("NaT"), Decimal("NaN")])
def test_missing_values(missing) -> None:
    encoder = learned({"a": 1.0, "b": 2.0})
    assert shown(encoder, {"a": missing, "b": 3.0}) == shown(encoder, {"b": 3.0}) == [None, 3.0, *[None] * 4]


def test_a_feature_may_be_a_number_at_times_and_a_category_at_others() -> None:
    encoder = learned({"a": 1.0}, {"a": "?"})
    assert shown(encoder, {"a": 2.0}) == [2.0, *[None] * 5]
    assert shown(encoder, {"a": "?"}) == [None, 1.0, *[None] * 4]


@pytest.mark.parametrize("number", [Decimal("1.5"), Fraction(3, 2), np.float64(1.5), np.float16(1.5), torch.tensor(1.5)])
def test_numbers_of_other_types(number) -> None:
    assert shown(learned({"a": number}), {"a": number})[0] == 1.5


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e39, -1e39, 10**400, np.float64("inf"), Decimal("Infinity")])
def test_numbers_out_of_range_are_refused_by_name(value) -> None:
    with pytest.raises(ValueError, match="feature 'b': expected a number that is finite in float32, got"):
        learned({"a": 1.0, "b": value})
    with pytest.raises(ValueError, match="finite in float32"):
        Encoder(4).encoded_table(["a"], np.array([[float(Fraction(1, 2))], [float("inf")]]))


@pytest.mark.parametrize(
    ("value", "error"), [([1], TypeError), ({}, TypeError), (1j, ValueError), (Decimal("sNaN"), ValueError)]
)
def test_values_that_are_neither_numbers_nor_hashable_are_refused(value, error) -> None:
    with pytest.raises(error, match="feature 'b'"):
        learned({"a": 1.0, "b": value})


def test_encoding_changes_nothing_and_is_what_learning_reads() -> None:
    samples = [{"a": float(i), "c": "xyz"[i % 3], f"n{i % 5}": 1.0 * i} for i in range(30)]
    encoder = Encoder(6)
    for sample in samples:
        keys, before = encoder.keys, encoder.encoded([sample])
        assert encoder.keys == keys
        encoder, after = encoder.learned([sample])
        assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    whole, rows = Encoder(6).learned(samples)
    assert whole.keys == encoder.keys
    assert rows.x.shape == (30, 6)
    assert np.array_equal(whole.encoded(samples).x, encoder.encoded(samples).x)


@pytest.mark.parametrize("columns", [4, 40])
def test_tables_and_dicts_are_encoded_alike(columns) -> None:
    table = points(20, columns=columns)[0]
    table[3, 1] = np.nan
    names = [f"f{i:02}" for i in range(columns)]
    of_table, rows = Encoder(32).learned_table(names, table)
    of_dicts, others = Encoder(32).learned(dict(zip(names, row.tolist(), strict=True)) for row in table)
    assert of_table.keys == of_dicts.keys
    assert np.allclose(rows.x, others.x, atol=1e-5)
    assert np.array_equal(rows.present, others.present)
    queries = of_table.encoded_table(names, table), of_dicts.encoded(dict(zip(names, row, strict=True)) for row in table)
    assert np.allclose(queries[0].x, queries[1].x, atol=1e-5)


@pytest.mark.parametrize("slots", [32, 3])
def test_tables_and_dicts_are_encoded_alike_where_columns_begin_late(slots) -> None:
    table = points(20, columns=6)[0]
    table[:7, 1] = table[:3, 4] = table[:, 5] = np.nan
    names = [f"f{i}" for i in range(6)]
    of_table, rows = Encoder(slots).learned_table(names, table)
    of_dicts, others = Encoder(slots).learned(dict(zip(names, row.tolist(), strict=True)) for row in table)
    assert [name for name, _ in of_table.keys] == [name for name, _ in of_dicts.keys] == ["f0", "f2", "f3", "f4", "f1"]
    assert np.allclose(rows.x, others.x)
    assert np.array_equal(rows.present, others.present)
    table[:, 5] = 1.0
    table[1, 5] = np.nan
    queries = of_table.encoded_table(names, table), of_dicts.encoded(dict(zip(names, row, strict=True)) for row in table)
    assert np.allclose(queries[0].x, queries[1].x)
    assert np.array_equal(queries[0].present, queries[1].present)


@pytest.mark.parametrize("missing", [None, math.nan, np.float32("nan"), Decimal("NaN")])
def test_a_feature_gets_its_slot_with_its_first_value(missing) -> None:
    encoder = learned({"a": missing, "b": 1.0}, {"a": 2.0, "never": missing})
    assert encoder.keys == [("b", None), ("a", None)]
    assert shown(encoder, {"a": 3.0, "b": 4.0})[:3] == [4.0, 3.0, None]


@pytest.mark.parametrize("slots", [2, 1])
def test_large_numbers_keep_their_digits(slots) -> None:
    start = 1_700_000_000
    _, rows = Encoder(slots).learned({"t": start + i, "n": 0} for i in range(30))
    assert len(np.unique(rows.x[2:, -1])) == 28
    _, rows = Encoder(slots).learned_table(["t"], start + np.arange(30.0)[:, None])
    assert rows.x[:, 0].tolist() == [start + i for i in range(30)]


def test_no_samples_are_no_rows() -> None:
    encoder, rows = Encoder(6).learned([])
    assert (encoder.num_places, rows.x.shape, encoder.encoded([]).present.shape) == (0, (0, 6), (0, 6))
    assert shown(encoder, {}) == [None] * 6


class TestManyFeatures:
    def test_a_first_sample_of_more_features_than_slots_is_projected(self) -> None:
        x = points(300, columns=50)[0]
        encoder, rows = Encoder(32).learned_table([str(i) for i in range(50)], x)
        assert (encoder.num_direct, encoder.num_places) == (0, 50)
        assert rows.present.all()
        assert not rows.x[:2].any()
        late = rows.x[50:]
        assert 0.5 < late.std() < 2
        near, far = np.linalg.norm(x[50:, None] - x[None, 50:], axis=2), np.linalg.norm(late[:, None] - late[None], axis=2)
        above = np.triu_indices(len(late), 1)
        assert np.corrcoef(near[above], far[above])[0, 1] > 0.7

    def test_units_do_not_matter(self) -> None:
        x = points(100, columns=50)[0]
        names = [str(i) for i in range(50)]
        scales = 10.0 ** np.random.default_rng(0).integers(-20, 20, 50)
        _, plain = Encoder(32).learned_table(names, x)
        _, scaled = Encoder(32).learned_table(names, x * scales + 3 * scales)
        assert np.allclose(plain.x, scaled.x, atol=1e-2)

    def test_the_presence_of_a_feature_is_projected_too(self) -> None:
        generator = random.Random(0)
        samples = [{f"word{i}": 1.0 for i in generator.sample(range(60), 40)} for _ in range(50)]
        encoder = learned(*samples, slots=8)
        assert encoder.num_direct == 0
        words = [f"word{i}" for i in range(40)]
        full = np.array(shown(encoder, dict.fromkeys(words, 1.0)))
        assert np.abs(full - np.array(shown(encoder, dict.fromkeys(words[:20], 1.0)))).max() > 0.1

    def test_later_features_are_added_to_the_slots_in_their_spread(self) -> None:
        generator = np.random.default_rng(0)
        samples = [{"a": float(v), "b": 1e6 * float(w)} for v, w in generator.normal(size=(50, 2))]
        more = [{**sample, f"late{i % 3}": float(generator.normal())} for i, sample in enumerate(samples)]
        encoder, rows = Encoder(2).learned(samples + more)
        assert encoder.num_direct == 2
        assert encoder.num_places == 5
        plain = np.array([[sample["a"], sample["b"]] for sample in samples])
        assert np.array_equal(rows.x[:50], plain)
        added = (rows.x[60:] - plain[10:]) / plain.std(0)
        assert 0.1 < np.abs(added).max() < 4
        assert shown(encoder, {"late0": 1.0}) == [None, None]

    def test_statistics_forget(self) -> None:
        projection = Projection.empty(1).extended([None])
        for level in (0, 100):
            for i in range(6000):
                projection = projection.after(np.array([level + (-1.0) ** i]), np.array([True]))
        assert abs(projection.mean[0] - 100) < 1
        assert 1 < projection.spread()[0] < 10


class TestBounds:
    def test_further_values_of_a_category_share_its_slots(self) -> None:
        encoder = learned(*({"zip": f"v{i}"} for i in range(1000)), slots=32)
        assert encoder.num_places == MAX_VALUES
        found = [shown(encoder, {"zip": f"new{i}"})[:MAX_VALUES] for i in range(100)]
        assert {sum(row) for row in found} == {1.0}
        assert len({tuple(row) for row in found}) > MAX_VALUES // 2

    def test_names_without_end_need_no_memory_without_end(self) -> None:
        encoder = Encoder(4)
        for i in range(0, 3 * MAX_FEATURES, 1000):
            encoder, rows = encoder.learned([{f"name{j}": 1.0 for j in range(i, i + 1000)}])
            assert np.isfinite(rows.x).all()
        assert len(encoder.keys) == encoder.num_places == MAX_FEATURES
        assert encoder.projection is not None
        assert encoder.projection.rows.shape == (2, MAX_FEATURES, 4)
        same, rows = encoder.learned([{"never seen": 1.0}, {"category": "never seen"}])
        assert same.keys == encoder.keys
        assert rows.present.all()

    def test_features_with_slots_keep_them_when_there_is_no_more_room(self) -> None:
        encoder = learned({"a": 1.0}, {f"n{i}": 1.0 for i in range(2 * MAX_FEATURES)}, slots=4)
        assert shown(encoder, {"a": 7.0})[0] == 7.0
        assert shown(encoder, {"unknown": 7.0})[0] is None
