"""Images of each data set are normalized by its own statistics, in training and in tests alike."""

import dataclasses

import numpy as np
import pytest
import torch

from srwm.data.normalize import normalized
from srwm.errors import UserError
from srwm.fewshot.evaluation.evaluate import embed_all
from srwm.fewshot.images import to_float, to_input
from srwm.fewshot.protocols.registry import build_protocol, with_second
from srwm.fewshot.protocols.sequential import Sequential, SequentialConfig
from srwm.fewshot.training.loop import train

from ..conftest import blobs


@pytest.fixture
def second():
    """A darker data set."""
    made = {split: blobs(f"second-{split}", 12, 6, seed) for seed, split in enumerate(("train", "val", "test"), start=7)}
    return {split: dataclasses.replace(data, images=data.images // 4) for split, data in made.items()}


@pytest.fixture
def sequential(config):
    changes = {"protocol": "sequential", "second_data": "glyphs", "normalize": True, "k_shot": 2, "augment": False}
    return dataclasses.replace(config, **changes, protocol_options=SequentialConfig(trim=2))


def test_every_image_of_a_step_is_normalized_by_its_own_data_set(sequential, splits, second):
    data = with_second(normalized(splits), normalized(second))["train"]
    sampler = Sequential.sampler(sequential, data, torch.Generator().manual_seed(0))
    protocol = build_protocol(sequential, data)
    seen = []
    protocol.model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for _ in range(20):
        step = sampler.sample()
        protocol(step._replace(images=to_float(step.images)))
        of_second = step.classes >= len(data[0])
        assert 0 < of_second.sum() < len(of_second)
        for part, chosen in zip(data, (~of_second, of_second), strict=True):
            expected = to_input(step.images[chosen], part)
            torch.testing.assert_close(seen[-1][chosen], expected)
    everything = to_input(torch.from_numpy(data[1].images), data[1])
    assert everything.mean().item() == pytest.approx(0, abs=1e-4)
    assert everything.std().item() == pytest.approx(1, abs=1e-3)


def test_features_of_a_test_are_those_of_normalized_images(config, splits):
    torch.manual_seed(0)
    model, data = build_protocol(config, [splits["train"]]).model.eval(), normalized(splits)["test"]
    mean, deviation = data.normalization[:, :, None, None]
    images = torch.from_numpy((data.images / np.float32(255) - mean) / deviation)
    with torch.no_grad():
        torch.testing.assert_close(embed_all(model, data), model.embed(images))


def test_a_configuration_and_data_that_disagree_are_reported(tmp_path, config, splits):
    with pytest.raises(UserError, match="normalize is True, and train has no normalization"):
        train(dataclasses.replace(config, normalize=True), splits, tmp_path / "run")
    with pytest.raises(UserError, match="normalize is False, and train has a normalization"):
        train(config, normalized(splits), tmp_path / "run")
