"""What headings of the pages are called in links."""

import re


def anchor(heading: str) -> str:
    """The part behind `#` of a link to a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
