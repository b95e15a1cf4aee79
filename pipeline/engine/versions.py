"""Versions of Python and of the packages that can change a result; each manifest lists them."""

import importlib.metadata
import platform
from contextlib import suppress

PACKAGES = ("torch", "torchvision", "transformers", "h5py", "pytorch-crf", "pillow", "numpy")
EXTRAS = ("spacy", "nltk", "timm", "pillow-heif")  # optional packages


def versions() -> dict[str, str]:
    """Return the version of each package; an optional one only if it is installed."""
    known = {"python": platform.python_version()}
    for package in PACKAGES:
        known[package] = importlib.metadata.version(package)
    for package in EXTRAS:
        with suppress(importlib.metadata.PackageNotFoundError):
            known[package] = importlib.metadata.version(package)
    return known
