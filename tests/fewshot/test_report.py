"""A run's folder as its model."""

import json

import pytest

from srwm.errors import UserError
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.report import load_best
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
