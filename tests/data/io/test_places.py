from pathlib import Path

from srwm.data.io.places import cache_dir, named_folder


def test_cache_dir_respects_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "srwm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "srwm"


def test_the_named_folder_is_the_argument_then_the_variable(monkeypatch):
    assert named_folder(None) is None
    monkeypatch.setenv("SRWM_DATA", "")
    assert named_folder(None) is None
    monkeypatch.setenv("SRWM_DATA", "of the variable")
    assert named_folder(None) == Path("of the variable")
    assert named_folder(Path("given")) == Path("given")
