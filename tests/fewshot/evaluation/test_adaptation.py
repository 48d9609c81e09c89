import csv
import json

import pytest
import torch

from srwm.fewshot.evaluation.adaptation import measure, write_adaptations

LABELS = torch.tensor([[0, 1, 0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1, 0, 1]])
CORRECT = torch.tensor([[0, 0, 1, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0, 0, 1]]).bool()


def test_a_hand_counted_example():
    found = measure(CORRECT, LABELS, ("letters", "digits"))
    letters, digits = found.tasks
    assert found.name == "letters, digits"
    assert found.total.mean == pytest.approx((5 / 8 + 3 / 8) / 2)
    assert (letters.total.mean, digits.total.mean) == (0.5, 0.5)
    assert [at.mean for at in letters.positions] == [0.5, 0.0, 0.5, 1.0]
    assert [at.mean for at in digits.positions] == [0.5, 0.0, 0.5, 1.0]
    # letters, first stream: occurrences 1 1 2 2, right 0 0 1 1; second stream: occurrences 1 2 1 2, right 1 0 0 1
    assert [shot.mean for shot in letters.shots] == [(0 + 1 / 2) / 2, (1 + 1 / 2) / 2]
    # digits, first stream: occurrences 1 1 2 2, right 1 0 1 1; second stream: 1 1 2 2, right 0 0 0 1
    assert [shot.mean for shot in digits.shots] == [(1 / 2 + 0) / 2, (1 + 1 / 2) / 2]
    assert digits.shots[0].interval == pytest.approx(1.96 * 0.5**1.5 / 2**0.5)
    assert digits.shots[0].episodes == 2


def test_the_table_holds_what_the_json_holds(tmp_path):
    write_adaptations(tmp_path, [measure(CORRECT, LABELS, ("letters", "digits"))])
    (order,) = json.loads((tmp_path / "adaptation.json").read_text())["orders"]
    with (tmp_path / "adaptation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (1 + 4 + 2)
    for segment, task in enumerate(order["tasks"], start=1):
        mine = [row for row in rows if row["segment"] == str(segment)]
        assert {(row["order"], row["data"]) for row in mine} == {("letters, digits", task["data"])}
        for over, accuracies in (("total", [task["total"]]), ("position", task["positions"]), ("shot", task["shots"])):
            table = [(float(row["accuracy"]), float(row["interval"])) for row in mine if row["over"] == over]
            assert table == [(accuracy["mean"], accuracy["interval"]) for accuracy in accuracies]
            assert [row["index"] for row in mine if row["over"] == over] == [str(i + 1) for i in range(len(accuracies))]
