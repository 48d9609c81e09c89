import dataclasses

import pytest
import torch
from matplotlib.figure import Figure

from srwm.errors import UserError
from srwm.fewshot.evaluation.adaptation import measure, write_adaptations
from srwm.fewshot.figures.adaptation import draw_adaptation
from srwm.training.runs import create_run

LABELS = torch.tensor([[0, 1, 0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1, 0, 1]])
CORRECT = torch.tensor([[0, 0, 1, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0, 0, 1]]).bool()


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
    assert figures[0].get_suptitle().startswith("How fast a model adapts")
    for axes in figures[0].axes:
        levels = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--" and list(line.get_xdata()) == [0, 1]]
        assert levels == [[pytest.approx(100 / 3)] * 2]


def test_runs_that_do_not_fit_together_are_reported(tmp_path, config):
    one, other = (make_tested(tmp_path / name, config, "letters", name) for name in ("one", "other"))
    create_run(tmp_path / "untested", config)
    with pytest.raises(UserError, match="other: tested on other streams than"):
        draw_adaptation([one, other], tmp_path / "figure.png")
    with pytest.raises(UserError, match=r"adaptation.json: no such file; srwm fewshot evaluate .*untested writes it"):
        draw_adaptation([one, tmp_path / "untested"], tmp_path / "figure.png")
    with pytest.raises(UserError, match="nosuch is not a run folder"):
        draw_adaptation([one, tmp_path / "nosuch"], tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.parametrize("content", ['{"orders": [1]}', '{"orders": []}', '{"orders": [{"total": {}, "tasks": []}]}', "{"])
def test_what_is_no_measurement_is_reported(tmp_path, config, content):
    run = make_tested(tmp_path / "run", config, "letters", "digits")
    (run / "adaptation.json").write_text(content)
    with pytest.raises(UserError, match=r"adaptation\.json: not readable"):
        draw_adaptation([run], tmp_path / "figure.png")


def test_an_unknown_kind_of_picture_is_reported(tmp_path, config):
    run = make_tested(tmp_path / "run", config, "letters", "digits")
    with pytest.raises(UserError, match=r"figure\.abc: "):
        draw_adaptation([run], tmp_path / "figure.abc")
