import json

import pytest

from srwm import load_model
from srwm.errors import UserError
from srwm.learner.kinds import FEW_SHOT
from srwm.learner.model_folder import _read_config


@pytest.mark.parametrize("name", ["normalize", "normalise"])
def test_a_run_on_normalized_images_is_refused_under_its_earlier_name_as_well(tmp_path, name) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": {}, name: True}))
    with pytest.raises(UserError, match="trained on normalized images"):
        load_model(tmp_path)


@pytest.mark.parametrize("data", ["omniglot-centered", "omniglot-centred"])
def test_a_run_on_centered_drawings_has_their_preprocessing_under_its_earlier_name_as_well(tmp_path, data) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": {}, "data": data}))
    assert _read_config(tmp_path, FEW_SHOT).metadata.preprocess == "ink"
