"""What parity is measured in: the largest difference of each quantity, and the recipe of a set."""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


@dataclass
class Differences:
    """The largest difference seen of each quantity."""

    tolerances: Mapping[str, float]
    worst: dict[str, float] = field(default_factory=dict)

    def add(self, quantity: str, ours: Any, theirs: Any) -> None:
        """Compare two arrays of one shape."""
        ours, theirs = (np.asarray(a, np.float64) for a in (ours, theirs))
        assert ours.shape == theirs.shape, (quantity, ours.shape, theirs.shape)
        self.note(quantity, float(np.abs(ours - theirs).max()))

    def note(self, quantity: str, difference: float) -> None:
        """Keep the larger of a difference and the one before; NaN is the largest."""
        assert quantity in self.tolerances, f"no tolerance is known for {quantity}"
        before = self.worst.get(quantity, 0.0)
        self.worst[quantity] = float(np.maximum(before, difference))

    def too_large(self) -> list[str]:
        """Quantities beyond their tolerance, or not compared at all."""
        return [
            name
            for name, most in self.tolerances.items()
            if not self.worst.get(name, float("nan")) <= most
        ]

    def lines(self) -> list[str]:
        """A table for people."""
        bad = self.too_large()
        return [f"{'quantity':30}{'largest':>10}{'allowed':>10}"] + [
            f"{name:30}{self.worst.get(name, float('nan')):10.2g}{most:10.2g}"
            + ("  TOO LARGE" if name in bad else "")
            for name, most in self.tolerances.items()
        ]


@dataclass(frozen=True)
class Vectors:
    """A folder of vectors that published code left, and the recipe that refills its weights."""

    folder: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What the vectors' authors say of them."""
        meta: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return meta

    @cached_property
    def recipe(self) -> ModuleType:
        """The recipe in the folder's parent, as a module."""
        spec = importlib.util.spec_from_file_location("recipe", self.folder.parent / "recipe.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
