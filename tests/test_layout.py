"""The tests lie as the code does: a folder of tests is a package of `srwm`."""

from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "srwm"
OUTSIDE = {"benchmarks", "docs"}
"""Folders of tests whose counterpart lies at the top of the project."""


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    outside = {folder for folder in folders if folder.name in OUTSIDE}
    assert all((TESTS.parent / folder).is_dir() for folder in outside)
    missing = [str(folder) for folder in folders - outside if not (SOURCE / folder / "__init__.py").is_file()]
    assert not missing
