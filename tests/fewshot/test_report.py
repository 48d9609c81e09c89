"""A run's folder as its model."""

import json

import pytest

from srwm.errors import UserError
from srwm.fewshot import report
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.report import load_best, score_baselines, score_run
from srwm.training.runs import BEST, create_run
from srwm.training.weights import save_weights


@pytest.mark.parametrize("changes", [{"num_layers": 10**9}, {"d_model": 10**6, "num_heads": 1}])
def test_a_configuration_of_another_size_than_the_weights_takes_no_memory(config, tmp_path, changes) -> None:
    create_run(tmp_path / "run", config)
    model = build_model(config.model)
    save_weights(tmp_path / "run" / BEST, model, {})
    assert load_best(tmp_path / "run").state_dict().keys() == model.state_dict().keys()
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["model"]["stack"] |= changes
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="the weights do not fit this model"):
        load_best(tmp_path / "run")


def test_a_folder_that_cannot_be_written_to_is_reported_before_the_evaluation(config, splits, tmp_path, monkeypatch) -> None:
    create_run(tmp_path / "run", config)

    def refuse(folder):
        raise UserError(f"cannot write into {folder}")

    monkeypatch.setattr(report, "check_writable_folder", refuse)
    monkeypatch.setattr(report, "load_best", lambda _: pytest.fail("the evaluation has begun"))
    for score, data in ((score_run, (splits["test"],)), (score_baselines, splits["test"])):
        with pytest.raises(UserError, match=r"cannot write into .*run"):
            score(tmp_path / "run", data, EvaluationConfig(data="omniglot"))
