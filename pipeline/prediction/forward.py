"""The forward pass of a saved model on batches of encoded posts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from model.contract import System
from model.hvpnet.prefixed import PrefixedEncoder
from model.hvpnet.variants import HVPNET
from pipeline.errors import SettingError
from pipeline.machine import BFLOAT16
from pipeline.training.batches import Tensors
from pipeline.training.encode import Encoded
from pipeline.training.saved import SavedModel


class Forward:
    """A saved model on a device. Its outputs equal the Trainer's in the same precision."""

    def __init__(self, saved: SavedModel, precision: str, device: str) -> None:
        """Load the model. precision: of matrix products; float32, bfloat16. Raises EncoderError."""
        self.saved = saved
        self.low = precision == BFLOAT16
        self.device = torch.device(device)
        self.model: System = saved.load().eval().requires_grad_(False)
        if self.low:
            _round_products(self.model)
        self.model.to(self.device)

    def __call__(self, posts: Sequence[Encoded], pictures: Tensors | None) -> Any:
        """Run the model. pictures: gives tensors for post numbers; None for a text-only model."""
        with self._computing():
            return self.model(**self._batch(posts, pictures))

    def gates(self, pyramid: Tensor) -> Tensor:
        """Return `PrefixedEncoder.gates`, on the CPU. Raises SettingError for other systems."""
        model = self._prefixed()
        with self._computing():
            return model.gates(pyramid.to(self.device)).cpu()

    def attention_to_regions(self, posts: Sequence[Encoded], pictures: Tensors) -> Tensor:
        """Return `PrefixedEncoder.attention_to_regions`, on the CPU. Raises as `gates`."""
        model = self._prefixed()
        batch = self._batch(posts, pictures)
        names = ("input_ids", "attention_mask", "pyramid", "regions", "segment_ids")
        inputs = {name: batch[name] for name in names if name in batch}
        with self._computing():
            return model.attention_to_regions(**inputs).cpu()

    def _prefixed(self) -> PrefixedEncoder:
        need_prefix(self.saved)
        assert isinstance(self.model, PrefixedEncoder)
        return self.model

    def _batch(self, posts: Sequence[Encoded], pictures: Tensors | None) -> dict[str, Tensor]:
        collator = self.saved.collator(pictures)
        return {name: tensor.to(self.device) for name, tensor in collator(posts).items()}

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute without gradients, in the model's precision."""
        low = torch.autocast(self.device.type, torch.bfloat16, enabled=self.low)
        with torch.inference_mode(), low:
            yield


def need_prefix(saved: SavedModel) -> None:
    """Raise SettingError for a model without gates and attention to regions."""
    if saved.config.system != HVPNET:
        raise SettingError(
            f"{saved.folder}: expected a model of system {HVPNET}, as others have no gates or "
            f"attention to explain, found one of {saved.config.system}; leave explain out"
        )


def _round_products(model: nn.Module) -> None:
    """Round the weights of linear maps to bfloat16 once; autocast would do it in each batch."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.to(torch.bfloat16)
