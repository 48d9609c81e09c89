from srwm.cli import main


def test_the_demo_trains_tests_and_draws(tmp_path, capsys):
    picture = tmp_path / "picture.png"
    assert main(["demo", "--figure", str(picture), "--minutes", "0.01", "--test-episodes", "20"]) == 0
    shown = capsys.readouterr().out
    assert "nearest pixels" in shown
    assert "self-modifying network" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_missing_folder_is_told_before_training(tmp_path, capsys):
    assert main(["demo", "--figure", str(tmp_path / "nowhere" / "picture.png")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
