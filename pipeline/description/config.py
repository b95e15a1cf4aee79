"""Settings of picture text, and their values where none are given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.engine.settings import changed, check
from pipeline.errors import SettingError
from pipeline.machine import FLOAT32

FILE, CAPTIONER, OCR, OBJECTS = "file", "captioner", "ocr", "objects"
DESCRIBERS = (FILE, CAPTIONER, OCR, OBJECTS)
READ_PICTURES = (CAPTIONER, OCR)
# 470 million weights. The hub has the smaller "-base" only as pickles, which are not loaded.
CAPTIONER_WEIGHTS = "Salesforce/blip-image-captioning-large"
# The settings that decide a describer's texts. The others are left at their defaults.
_READ = {
    FILE: ("files",),
    CAPTIONER: ("weights", "prompt", "length", "precision"),
    OCR: (),
    OBJECTS: (),
}


@dataclass(frozen=True)
class DescribeConfig:
    """The settings that decide a picture's text."""

    describer: str = CAPTIONER  # one of DESCRIBERS
    files: tuple[str, ...] = ()  # of the describer `file`, in the order of their texts
    weights: str | None = None  # hub name or folder of a captioner
    prompt: str | None = None  # of a captioner; None: its own way to begin
    length: int = 40  # most new tokens of a captioner
    precision: str = FLOAT32  # of a captioner: float32 or bfloat16

    def __post_init__(self) -> None:
        check("--length", "1 or more", self.length, self.length > 0)

    def described(self) -> dict[str, Any]:
        """Return the describer and the settings that it reads, for keys and reports."""
        names = ("describer", *_READ[self.describer])
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_described(cls, settings: Mapping[str, Any]) -> "DescribeConfig":
        """Return the configuration of settings that were recorded with texts."""
        names = ("describer", *_READ[settings["describer"]])
        return cls(**{name: settings[name] for name in names if name in settings})


def engine_version() -> str | None:
    """Return the package that reads text in pictures, with its version; None if it is missing."""
    try:
        return f"rapidocr {version('rapidocr')}"
    except PackageNotFoundError:
        return None


def describe_config(values: Mapping[str, Any]) -> DescribeConfig:
    """Return the configuration for the values given.

    Settings that the describer does not read are set to their defaults.

    values: by the names of DescribeConfig. Without a describer, it is `file` if there are files.

    Raises SettingError for the describer `file` without files.
    """
    describer = values.get("describer") or (FILE if values.get("files") else CAPTIONER)
    read = {name: values.get(name) for name in _READ[describer]}
    config = changed(DescribeConfig(), read | {"describer": describer})
    if describer == FILE and not config.files:
        raise SettingError("--describer file: expected --files, JSON lines of texts, found none")
    if describer == CAPTIONER:
        config = replace(config, weights=config.weights or CAPTIONER_WEIGHTS)
    return config
