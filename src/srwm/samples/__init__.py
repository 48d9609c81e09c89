"""Sample drawings for a first try: five Armenian letters, drawn by `srwm.samples.draw`; no model here was trained on them."""

from pathlib import Path

EXAMPLES = Path(__file__).parent / "examples"
"""A folder of five class folders, one drawing in each."""
QUESTIONS = Path(__file__).parent / "questions"
"""A folder of the same five class folders, two other drawings in each."""

__all__ = ["EXAMPLES", "QUESTIONS"]
