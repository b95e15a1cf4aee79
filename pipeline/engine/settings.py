"""Settings: checks of values, changes to a configuration, and files that a setting names."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.engine.near import NearNames, described
from pipeline.errors import DataError, SettingError

Config = TypeVar("Config")  # a frozen dataclass


def check(option: str, expected: str, found: float, good: bool) -> None:
    """Raise SettingError, which names the option, unless its value is good."""
    if not good:
        raise SettingError(f"{option}: expected {expected}, found {found}")


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """Replace the fields of a configuration that have a value other than None in `values`."""
    assert is_dataclass(config)
    assert not isinstance(config, type)
    names = [field.name for field in fields(config)]
    given = {name: values[name] for name in names if values.get(name) is not None}
    return replace(config, **given)


def on_disk(name: str, value: str | None, word: str | None = None) -> dict[str, Path]:
    """Return {name: path} if a setting's value is an existing file or folder, else {}.

    word: a value with a special meaning, never a path even if a file has that name.
    """
    if value is None or value == word or not Path(value).exists():
        return {}
    return {name: Path(value)}


def without_path(settings: dict[str, Any], name: str, word: str | None = None) -> dict[str, Any]:
    """Replace the path of an existing file or folder by "from disk": only its content counts."""
    return settings | ({name: "from disk"} if on_disk(name, settings[name], word) else {})


def existing(option: str, value: str) -> Path:
    """Return the file or folder that an option names. Raises DataError if it does not exist."""
    if not Path(value).exists():
        hint = described("", NearNames().hint(Path(value)))
        raise DataError(f"{option}: expected a file or folder, found nothing at {value}{hint}")
    return Path(value)
