"""Pages of the documentation that are written section by section."""

from pathlib import Path


def write_section(page: Path, title: str, text: str) -> None:
    """Put a section, heading first, at its place in a page or at the end of it; make the page where there is none."""
    title, *sections = (page.read_text() if page.exists() else title).split("\n## ")
    heading = text.removeprefix("## ").partition("\n")[0]
    kept = {part.partition("\n")[0]: part.strip() for part in sections} | {heading: text.removeprefix("## ").strip()}
    page.write_text("\n\n## ".join([title.strip(), *kept.values()]) + "\n")
