import csv
import dataclasses
import json

import pytest
import torch
from matplotlib.figure import Figure

from srwm.errors import UserError
from srwm.fewshot.evaluation.adaptation import draw_adaptation, measure, write_adaptations
from srwm.training.runs import create_run

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


def make_tested(folder, config, *names, core="srwm"):
    stack = dataclasses.replace(config.model.stack, core=core)
    create_run(folder, dataclasses.replace(config, model=dataclasses.replace(config.model, stack=stack)))
    write_adaptations(folder, [measure(CORRECT, LABELS, order) for order in (names, names[::-1])])
    return folder


def test_several_runs_are_drawn_into_one_figure_with_chance(tmp_path, config, monkeypatch):
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *given, **how: figures.append(self) or savefig(self, *given, **how))
    runs = [make_tested(tmp_path / core, config, "letters", "digits", core=core) for core in ("srwm", "lstm")]
    draw_adaptation(runs, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert figures[0].get_suptitle().startswith("How fast it adapts")
    for axes in figures[0].axes:
        levels = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--" and line.get_xdata() == [0, 1]]
        assert levels == [[pytest.approx(100 / 3)] * 2]


def test_runs_that_do_not_fit_together_are_told(tmp_path, config):
    one, other = (make_tested(tmp_path / name, config, "letters", name) for name in ("one", "other"))
    create_run(tmp_path / "untested", config)
    with pytest.raises(UserError, match="other: tested on other streams than"):
        draw_adaptation([one, other], tmp_path / "figure.png")
    with pytest.raises(UserError, match=r"adaptation.json: not there; srwm fewshot evaluate .*untested makes it"):
        draw_adaptation([one, tmp_path / "untested"], tmp_path / "figure.png")
    with pytest.raises(UserError, match="nosuch is not a run folder"):
        draw_adaptation([one, tmp_path / "nosuch"], tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.parametrize("content", ['{"orders": [1]}', '{"orders": []}', '{"orders": [{"total": {}, "tasks": []}]}', "{"])
def test_what_is_no_measurement_is_told(tmp_path, config, content):
    run = make_tested(tmp_path / "run", config, "letters", "digits")
    (run / "adaptation.json").write_text(content)
    with pytest.raises(UserError, match=r"adaptation\.json: not readable"):
        draw_adaptation([run], tmp_path / "figure.png")


def test_an_unknown_kind_of_picture_is_told(tmp_path, config):
    run = make_tested(tmp_path / "run", config, "letters", "digits")
    with pytest.raises(UserError, match=r"figure\.abc: "):
        draw_adaptation([run], tmp_path / "figure.abc")
