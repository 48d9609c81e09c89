"""The one exception for mistakes that the user can mend."""


class UserError(Exception):
    """A missing folder, a corrupt file, a wrong setting: told in one line that says what is wrong and what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))
