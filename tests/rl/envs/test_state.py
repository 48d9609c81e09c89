import numpy as np
import pytest

from srwm.rl.envs.state import pack, unpack


def test_arrays_come_back():
    arrays = {"a": np.arange(5, dtype=np.int64), "b": np.array("text"), "c": np.zeros((0, 3), np.float32)}
    back = unpack(pack(arrays))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_damage_is_noticed(where):
    state = bytearray(pack({"a": np.random.default_rng(0).integers(256, size=5000).astype(np.uint8)}))
    state[int(len(state) * where)] ^= 255
    with pytest.raises(ValueError, match="damaged"):
        unpack(bytes(state))


@pytest.mark.parametrize("state", [b"", b"something else", pack({"a": np.arange(9)})[:-30]])
def test_other_bytes_are_refused(state):
    with pytest.raises(ValueError, match="damaged"):
        unpack(state)


def test_objects_are_not_unpickled():
    import io

    file = io.BytesIO()
    np.savez(file, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        unpack(file.getvalue())
