"""One rule for the names of all figures."""

from pathlib import Path

import pytest

from srwm.errors import UserError
from srwm.training.figures import check_figure


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.jpeg", "x.y.pdf"])
def test_what_matplotlib_draws_is_accepted(tmp_path: Path, name: str) -> None:
    check_figure(tmp_path / name)


@pytest.mark.parametrize("name", ["x", "x.abc", ".png", "png"])
def test_a_name_of_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.png, "):
        check_figure(tmp_path / name)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: there is no such folder$"):
        check_figure(tmp_path / "nowhere" / "x.png")


def test_a_figure_that_cannot_be_written_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(UserError, match=r"x\.png: expected a file, got a folder"):
        check_figure(tmp_path / "x.png")
