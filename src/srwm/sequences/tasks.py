"""Tasks: sequences for training, validation and test, by one interface."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from srwm.errors import UserError
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.automaton.episodes import draw_episodes, elements_of
from srwm.sequences.automaton.symbols import build_symbols
from srwm.sequences.batch import PURPOSES, Batch, Bin, Purpose
from srwm.sequences.config import TaskConfig
from srwm.sequences.languages import LANGUAGES, Language, draw_strings

AUTOMATON = "automaton"
TASK_NAMES = (*LANGUAGES, AUTOMATON)
FAR = 16
"""The longest sequences of a test are this many times as long as those of training; those of the automaton half as many."""


class Task(ABC):
    """Draws sequences.

    Args:
        config: the lengths in training.
    """

    classes: tuple[str, ...]
    """what a target can be"""
    by_token: bool
    """whether accuracy is that of tokens; otherwise of whole sequences"""

    def __init__(self, config: TaskConfig) -> None:
        self.config = config
        self.training = Bin(config.min_length, config.max_length)

    @property
    @abstractmethod
    def validation(self) -> Bin:
        """Sequences that choose the best weights: up to 1.5 times as long as in training."""

    @property
    @abstractmethod
    def tests(self) -> Mapping[str, Bin]:
        """Sequences that measure a model, by name; the longest are last."""

    @abstractmethod
    def draw(self, purpose: Purpose, key: tuple[int, ...], count: int, lengths: Bin) -> Batch:
        """Draw sequences.

        Args:
            purpose: what they are for; those of different purposes are different.
            key: seeds of the generator, which is another one for each purpose.
            count: number of sequences B.
            lengths: the range of their lengths.

        Returns:
            B sequences.

        Raises:
            ValueError: there are none of such lengths.
        """


class LanguageTask(Task):
    """Strings of a language, or words over a group.

    Args:
        config: the lengths in training.
        language: the language.
    """

    def __init__(self, config: TaskConfig, language: Language) -> None:
        super().__init__(config)
        self.language = language
        self.classes = language.classes
        self.by_token = language.is_word

    @property
    def validation(self) -> Bin:
        """Sequences that choose the best weights: longer than in training, up to 1.5 times."""
        longest = self.training.longest
        most = max(longest * 3 // 2, longest + 4 * self.language.unit if self.language.is_unique else longest + 1)
        return Bin(most if self.by_token else longest + 1, most)

    @property
    def tests(self) -> Mapping[str, Bin]:
        """Words of 1, 2, ..., 16 times the length; strings in bins up to 1, 2, 4 times the length, and of 16 times."""
        longest, unit = self.training.longest, self.language.unit
        if self.by_token:
            return {str(times * longest): Bin(times * longest, times * longest) for times in (1, 2, 4, 8, FAR)}
        return {
            "Bin0": self.training,
            "Bin1": Bin(longest + 1, 2 * longest),
            "Bin2": Bin(2 * longest + 1, 4 * longest),
            f"x{FAR}": Bin(FAR * longest - unit + 1, FAR * longest),
        }

    def draw(self, purpose: Purpose, key: tuple[int, ...], count: int, lengths: Bin) -> Batch:
        """As `Task`; a string that is drawn for one purpose is never drawn for another."""
        key = (PURPOSES.index(purpose), *key)
        return draw_strings(self.language, purpose, key, count, lengths, self.validation.longest)


class AutomatonTask(Task):
    """Episodes of the automaton.

    Args:
        config: the lengths in training.
        options: groups, symbols and shots.

    Raises:
        UserError: the options do not fit together.
    """

    by_token = True

    def __init__(self, config: TaskConfig, options: AutomatonConfig) -> None:
        super().__init__(config)
        if not options.groups or len(set(options.groups)) < len(options.groups):
            raise UserError(f"task.automaton.groups: expected one or more different groups, got {options.groups}")
        self.options = options
        self.elements = elements_of(options)
        self.classes = self.elements.classes
        self.symbols = build_symbols(options, max(self.elements.sizes))

    @property
    def validation(self) -> Bin:
        """Words of 1.5 times the length of training."""
        longest = self.training.longest * 3 // 2
        return Bin(longest, longest)

    @property
    def tests(self) -> Mapping[str, Bin]:
        """Words of each group, of 1, 2, 4 and 8 times the length of training."""
        longest = self.training.longest
        return {
            f"{group} {times * longest}": Bin(times * longest, times * longest, group)
            for group in self.options.groups
            for times in (1, 2, 4, FAR // 2)
        }

    def draw(self, purpose: Purpose, key: tuple[int, ...], count: int, lengths: Bin) -> Batch:
        """As `Task`; vectors are new in every episode, drawings are of the characters of the purpose."""
        return draw_episodes(self.options, self.symbols, purpose, (PURPOSES.index(purpose), *key), count, lengths)


def build_task(config: TaskConfig) -> Task:
    """The task of a configuration.

    Args:
        config: the configuration.

    Returns:
        The task.

    Raises:
        UserError: there is no such task, or its options do not fit.
    """
    if config.name not in TASK_NAMES:
        raise UserError(f"task.name: expected one of {', '.join(TASK_NAMES)}, got {config.name!r}")
    if (config.name == AUTOMATON) != (config.automaton is not None):
        raise UserError(f"task.automaton: expected options exactly for the task {AUTOMATON}, and the task is {config.name}")
    if config.min_length > config.max_length:
        raise UserError(f"task.min_length: expected {config.max_length} or less, task.max_length, got {config.min_length}")
    if config.automaton is not None:
        return AutomatonTask(config, config.automaton)
    task = LanguageTask(config, LANGUAGES[config.name])
    try:
        for purpose, lengths in (("train", task.training), ("val", task.validation), ("test", task.training)):
            task.draw(purpose, (0,), 1, lengths)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"task: {error}") from error
    return task
