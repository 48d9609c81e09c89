"""What README.md and the pages of docs/ say holds: Python blocks print what they promise, commands and links exist."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from srwm.cli import COMMANDS
from srwm.fewshot.presets import PRESETS
from srwm.sequences.presets import PRESETS as SEQUENCE_PRESETS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def anchor(heading: str) -> str:
    """The part behind `#` of a link to a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def python(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{name}-{i}")
        for page, name in zip(PAGES, PAGE_NAMES, strict=True)
        for i, code in enumerate(blocks(page, language))
    ]


PYTHON, UNTRIED = python("python"), python("python needs-files")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("code", PYTHON)
def test_python_prints_what_its_comments_say(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The comment behind a print is what it prints."""
    promised = re.findall(r"^print\(.*\)  +# (.*)$", code, re.MULTILINE)
    assert len(promised) == len(re.findall(r"^ *print\(", code, re.MULTILINE))
    exec(compile(code, "<page>", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines() == promised


@pytest.mark.parametrize("code", UNTRIED)
def test_python_that_needs_files_imports_what_there_is(code: str) -> None:
    tree = ast.parse(code)
    tree.body = [line for line in tree.body if isinstance(line, ast.Import | ast.ImportFrom)]
    exec(compile(tree, "<page>", "exec"), {})


@pytest.mark.parametrize(("page", "presets"), [("fewshot.md", PRESETS), ("sequences.md", SEQUENCE_PRESETS)])
def test_every_preset_is_documented(page: str, presets: dict[str, Any]) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert [name for name in presets if f"`{name}`" not in text] == []


def test_the_readme_has_python() -> None:
    assert len(blocks(ROOT / "README.md", "python")) >= 1


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_commands_exist(page: Path) -> None:
    shell = "\n".join(blocks(page, "sh"))
    presets = re.findall(r"srwm fewshot train ([\w-]+)", shell)
    assert set(presets) <= PRESETS.keys()
    commands = re.findall(r"^srwm ((?:(?:fewshot|rl|sequences|streams) )?\w+)", shell, re.MULTILINE)
    assert set(commands) <= COMMANDS.keys()
    targets = re.findall(r"^make (?:PYTHON=\S+ )?([\w-]+)", shell, re.MULTILINE)
    assert set(targets) <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing
    for target, name in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text()):
        headings = re.findall(r"^#+ (.*)$", (page.parent / target if target else page).read_text(), re.MULTILINE)
        assert name in map(anchor, headings)
