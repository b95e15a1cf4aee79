"""Describers that look at pictures. They need no store: prediction uses them too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from pipeline.description.config import CAPTIONER, DescribeConfig
from pipeline.machine import Machine

BATCH_SIZE = 8  # pictures that a model gets at once, by default


class Model(Protocol):
    """A loaded model that describes pictures."""

    def texts(self, pictures: Sequence[Image]) -> list[str]:
        """Return a text for each picture, which is upright and RGB; "" for nothing to say."""


@dataclass(frozen=True)
class Describer:
    """A model that describes pictures, loaded for its first picture.

    identity: what decides the texts beside the pictures and the weights.
    weights: the folder of the weights; None if the identity covers them.
    make: loads the model.
    batch_size: pictures that the model gets at once.
    """

    identity: tuple[str, ...]
    weights: Path | None
    make: Callable[[], Model]
    batch_size: int = BATCH_SIZE

    @cached_property
    def _model(self) -> Model:
        return self.make()

    def texts(self, pictures: Sequence[Image]) -> list[str]:
        """Return a text for each picture, which is upright and RGB; "" for nothing to say.

        Raises WeightsError, DeviceError or SettingError if the model cannot be loaded.
        """
        starts = range(0, len(pictures), self.batch_size)
        batches = (pictures[n : n + self.batch_size] for n in starts)
        return [text for batch in batches for text in self._model.texts(batch)]


def make_describer(config: DescribeConfig, machine: Machine) -> Describer:
    """Return the captioner or the reader of text (OCR) that a configuration names.

    Raises WeightsError if a captioner's weights are neither on this machine nor on the hub, and
    SettingError if the reader of text is not installed.
    """
    make = _captioner if config.describer == CAPTIONER else _ocr
    return make(config, machine)


def _captioner(config: DescribeConfig, machine: Machine) -> Describer:
    from features.grounding.hub import model_folder

    weights = str(config.weights)
    folder = model_folder(weights, "captioner", "--files with texts of your own")

    def make() -> Model:
        from pipeline.description.captioner import Captioner
        from pipeline.machine import pick_device

        device = pick_device(machine.device)
        return Captioner(folder, config.prompt, config.length, config.precision, device)

    settings = (repr(config.prompt), str(config.length), config.precision)
    return Describer(("captioner-1", *settings), folder, make, machine.batch_size or BATCH_SIZE)


def _ocr(config: DescribeConfig, machine: Machine) -> Describer:
    from pipeline.description.ocr import TextReader, need_engine

    identity = ("ocr-1", need_engine())
    size = machine.batch_size or BATCH_SIZE
    return Describer(identity, None, lambda: TextReader(machine.threads), size)
