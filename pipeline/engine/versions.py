"""Versions of Python and of the packages that can change a figure, for every result."""

import importlib.metadata
import platform
from contextlib import suppress

PACKAGES = ("torch", "torchvision", "transformers", "h5py", "pytorch-crf", "pillow", "numpy")
EXTRAS = ("spacy", "nltk", "timm", "pillow-heif")  # packages that may be missing


def versions() -> dict[str, str]:
    """Version by package; of the extras, those that are installed."""
    known = {"python": platform.python_version()}
    for package in PACKAGES:
        known[package] = importlib.metadata.version(package)
    for package in EXTRAS:
        with suppress(importlib.metadata.PackageNotFoundError):
            known[package] = importlib.metadata.version(package)
    return known
