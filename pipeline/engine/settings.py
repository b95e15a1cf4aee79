"""Settings: values given over a configuration's, and the files that a setting may name."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.engine.near import NearNames, described
from pipeline.errors import DataError, SettingError

Config = TypeVar("Config")  # a frozen dataclass


def check(option: str, expected: str, found: float, good: bool) -> None:
    """Raise SettingError, naming the option, unless its value is good."""
    if not good:
        raise SettingError(f"{option}: expected {expected}, found {found}")


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """Replace the fields of a configuration for which a value other than None is given."""
    assert is_dataclass(config)
    assert not isinstance(config, type)
    names = [field.name for field in fields(config)]
    own = {name: values[name] for name in names if values.get(name) is not None}
    return replace(config, **own)


def on_disk(name: str, value: str | None, word: str | None = None) -> dict[str, Path]:
    """A setting's source: the file or folder that it names, if it names one.

    word: a value with a meaning of its own, which is not a path even where a file has that name.
    """
    if value is None or value == word or not Path(value).exists():
        return {}
    return {name: Path(value)}


def without_path(settings: dict[str, Any], name: str, word: str | None = None) -> dict[str, Any]:
    """Settings in which a file or folder is left to its digest: it may lie anywhere."""
    return settings | ({name: "from disk"} if on_disk(name, settings[name], word) else {})


def existing(option: str, value: str) -> Path:
    """The file or folder that an option names. Raises DataError if there is none."""
    if not Path(value).exists():
        hint = described("", NearNames().hint(Path(value)))
        raise DataError(f"{option}: expected a file or folder, found nothing at {value}{hint}")
    return Path(value)
