"""Parameters with several values, separated by commas."""

from collections.abc import Callable, Sequence
from typing import Any

import luigi

from pipeline.errors import SettingError


class Names(luigi.Parameter):
    """A parameter of several words, such as mnre,twitter2017.

    choices: the words allowed, or what returns them when they are needed.
    """

    def __init__(
        self,
        *args: Any,
        choices: Sequence[str] | Callable[[], Sequence[str]] = (),
        **options: Any,
    ) -> None:
        self.choices = choices
        super().__init__(*args, **options)

    @property
    def words(self) -> tuple[str, ...]:
        """The words allowed; none: all."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    def parse(self, x: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(filter(None, map(str.strip, x.split(",")))))
        for word in words:
            if self.words and word not in self.words:
                raise SettingError(f"expected some of {', '.join(self.words)}, found {word!r}")
        return words

    def serialize(self, x: tuple[str, ...]) -> str:
        return ",".join(x)


class Numbers(luigi.Parameter):
    """A parameter of several whole numbers, such as 1,49,1234."""

    def parse(self, x: str) -> tuple[int, ...]:
        numbers = [number.strip() for number in x.split(",")] if x else []
        if not all(number.isdecimal() for number in numbers):
            raise SettingError(f"expected numbers such as 1,49,1234, found {x!r}")
        return tuple(dict.fromkeys(map(int, numbers)))

    def serialize(self, x: tuple[int, ...]) -> str:
        return ",".join(map(str, x))
