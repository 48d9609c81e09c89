import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="the extra srwm[rl] is not installed")

from gymnasium import spaces

from srwm.errors import UserError
from srwm.rl.envs.spaces import actions_of, observations_of


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 6), (1, 8, 6)), ((8, 6, 3), (3, 8, 6)), ((4, 8, 6), (4, 8, 6)), ((3, 8, 1), (1, 3, 8))],
)
def test_images_come_channels_first(shape, expected):
    image = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
    seen = observations_of(spaces.Box(0, 255, shape, np.uint8), "task")
    assert (seen.shape, seen.dtype, seen.encode(image).shape) == (expected, "uint8", expected)
    moved = seen.encode(image)
    np.testing.assert_array_equal(np.moveaxis(moved, 0, 2).reshape(shape) if shape != (4, 8, 6) else moved, image)


def test_the_image_of_a_dict_is_taken_alone():
    space = spaces.Dict({"image": spaces.Box(0, 255, (4, 5, 3), np.uint8), "mission": spaces.Text(10)})
    seen = observations_of(space, "task")
    assert seen.shape == (3, 4, 5)
    assert seen.encode({"image": np.ones((4, 5, 3), np.uint8), "mission": "go"}).shape == (3, 4, 5)


def test_parts_of_a_space_follow_each_other():
    space = spaces.Tuple([spaces.Discrete(3, start=2), spaces.Box(-9, 9, (2,)), spaces.MultiDiscrete([2, 2])])
    seen = observations_of(space, "task")
    vector = seen.encode((3, np.array([0.5, -4]), np.array([1, 0])))
    assert (seen.shape, vector.dtype) == ((9,), np.float32)
    np.testing.assert_array_equal(vector, [0, 1, 0, 0.5, -4, 0, 1, 1, 0])


def test_observations_of_any_length_are_refused():
    with pytest.raises(UserError, match="no fixed size"):
        observations_of(spaces.Sequence(spaces.Discrete(2)), "task")


def test_combined_actions_are_numbered():
    space = spaces.MultiDiscrete([2, 3], start=[5, 0])
    actions = actions_of(space, "task")
    assert actions.count == 6
    assert [tuple(actions.decode(k)) for k in range(6)] == [(5, 0), (5, 1), (5, 2), (6, 0), (6, 1), (6, 2)]
    assert [actions_of(spaces.Discrete(3, start=-1), "task").decode(k) for k in range(3)] == [-1, 0, 1]
