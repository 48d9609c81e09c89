"""What the page does, without the page: teach, ask, save and load."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from srwm.fewshot.models.residual import ResidualModel
from srwm.learner.answers import Answer, answers, without_ink
from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.pretrained import load_model
from srwm.nn import State
from srwm.playground.written import picture_of_change

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass
class Session:
    """One user's learner, and what the last example changed."""

    learner: FewShotLearner
    before: State | None = None
    """the state before the last example"""

    @classmethod
    def begun(cls, model: str | Path) -> Self:
        """A session in which nothing was learned. The memory learns too, beside class means, so that it can be seen.

        Args:
            model: what `srwm.load_model` takes.

        Returns:
            The session.

        Raises:
            UserError: the model cannot be loaded.
        """
        head: Literal["auto", "residual"] = "residual" if isinstance(load_model(model), ResidualModel) else "auto"
        return cls(FewShotLearner.from_pretrained(model, head=head))

    def teach(self, image: "Image | str | None", name: str) -> str:
        """Learn one image.

        Args:
            image: a drawing, or the path of an image file.
            name: its class.

        Returns:
            What was learned, for the user.

        Raises:
            ValueError: there is no name or no ink, or there are too many classes.
            UserError: the file cannot be read.
        """
        name = name.strip()
        if not name:
            raise ValueError("Write the name of the letter first.")
        if image is None or without_ink(self.learner, image)[0]:
            raise ValueError("No ink was found. Draw a letter, or drop an image of one.")
        before = self._state()
        self.learner.learn(image, name)
        self.before = before
        return f"Learned “{name}”."

    def ask(self, image: "Image | str | None") -> Answer | None:
        """The answer to one image.

        Args:
            image: a drawing, or the path of an image file.

        Returns:
            The answer; None if there is no image, or nothing was learned.

        Raises:
            ValueError: the image does not fit.
            UserError: the file cannot be read.
        """
        if image is None or not self.learner.__sklearn_is_fitted__():
            return None
        return answers(self.learner, image)[0]

    def written(self) -> NDArray[np.uint8] | None:
        """The picture of what the memory wrote; None if nothing was learned."""
        state = self._state()
        return None if state is None else picture_of_change(self.before, state, self.learner.model_)

    def classes(self) -> list[Any]:
        """The names of the classes, sorted."""
        return self.learner.classes_.tolist() if self.learner.__sklearn_is_fitted__() else []

    def forget(self) -> None:
        """Forget all images."""
        self.learner.forget()
        self.before = None

    def load(self, path: Path) -> None:
        """Replace what was learned by a saved memory.

        Args:
            path: a file of `FewShotLearner.save`.

        Raises:
            UserError: the file is damaged, or of another model.
        """
        self.learner.load(path)
        self.before = None

    def _state(self) -> State | None:
        return self.learner.state_ if self.learner.__sklearn_is_fitted__() else None
