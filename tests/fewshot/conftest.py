import numpy as np
import pytest

from srwm.data import ImageClasses, Split
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import PoolConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.nn import StackConfig
from srwm.training.optimizer import OptimizerConfig


@pytest.fixture(scope="module")
def subprocess_environment(shared_cache):
    """For tests that start the program: threads that wait passively, and one cache of decoded data for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "passive")
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        yield


def blobs(name: str, classes: int, instances: int, seed: int) -> ImageClasses:
    """Classes that are easy to distinguish: one random 16x16 picture each, with a little noise per instance."""
    generator = np.random.default_rng(seed)
    centers = generator.integers(0, 200, (classes, 1, 1, 16, 16))
    images = (centers + generator.integers(0, 20, (classes, instances, 1, 16, 16))).astype(np.uint8)
    return ImageClasses.from_groups(name, list(images), [f"{name}{c}" for c in range(classes)])


@pytest.fixture(scope="session")
def splits() -> dict[Split, ImageClasses]:
    return {"train": blobs("train", 200, 6, 0), "val": blobs("val", 8, 6, 1), "test": blobs("test", 8, 6, 2)}


@pytest.fixture
def config() -> TrainConfig:
    """A run of a second or two."""
    return TrainConfig(
        data="glyphs",
        model=ModelConfig(
            image_shape=(1, 16, 16),
            n_way=3,
            stem_channels=8,
            stem_dropout=0.1,
            stack=StackConfig(d_model=16, num_heads=2, num_layers=1, ff_factor=1, core_options={"query_init_std": 0.01}),
        ),
        queries=3,
        episodes=16,
        pool=PoolConfig(classes=10, images_per_class=4),
        augment=True,
        optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.01, clip_norm=1.0),
        schedule="trapezoid",
        ema_decay=0.9,
        steps=12,
        log_every=2,
        validate_every=4,
        validation_episodes=20,
        validation_queries=3,
    )
