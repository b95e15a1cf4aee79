"""Start a training from another run: its tokenizer and all weights but the head's (Table 3)."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from features.weights import read_state
from model.contract import System
from model.encoder import TextEncoder
from model.hvpnet.prefixed import PrefixedEncoder
from pipeline.training.batches import Pictures
from pipeline.training.config import BACKBONE
from pipeline.training.possible import check_encoder, check_prefix
from pipeline.training.results import metrics_of
from pipeline.training.saved import SavedModel, check_pyramids

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """A saved model that a training starts from.

    pieces: of its tokenizer, before markers are added.
    parts: parameters of its encoder, prefix, head and fine-tuned backbone; 0 for a missing part.
    """

    saved: SavedModel
    model: System
    pieces: int
    parts: dict[str, int]

    @classmethod
    def open(cls, folder: Path, pictures: Pictures | None) -> "Start":
        """Load a model for a training with these pictures; None: text-only.

        Raises SettingError for a model without an encoder; DataError, EncoderError; also if the
        model has a prefix and was trained on another kind of pyramids.
        """
        saved = SavedModel.open(folder)
        check_encoder(folder, saved.config.to_dict())
        if pictures is not None and not saved.is_text_only:
            check_pyramids(saved.config, pictures, folder)
        model, tokenizer = saved.load(), saved.tokenizer
        # The run's limit is the length that it trained with; this run has its own.
        tokenizer.model_max_length = model.encoder.config.max_position_embeddings
        return cls(saved, model, len(tokenizer), _parts(model) | {"backbone": _backbone(folder)})

    def fill_prefix(self, model: PrefixedEncoder) -> None:
        """Copy the prefix's weights into a new model, if both have one. Raises SettingError."""
        own = self.model.prefix if isinstance(self.model, PrefixedEncoder) else None
        if own is None or model.prefix is None:
            return
        check_prefix(self.saved.folder, self.saved.config.to_dict(), model.config.to_dict())
        model.prefix.load_state_dict(own.state_dict())

    def report(self, model: System) -> dict[str, Any]:
        """Return and log which parts were taken, which were left, and which are new.

        The numbers are counts of parameters. model: the new one, before its first step.
        """
        assert isinstance(model, TextEncoder)
        new, old = _parts(model), self.parts
        both = bool(old["prefix"] and new["prefix"])
        added = len(self.saved.tokenizer) - self.pieces
        groups = {
            "taken": {
                "encoder": old["encoder"],
                "prefix": old["prefix"] if both else 0,
                "backbone": old["backbone"] if both else 0,  # check_pyramids: it made the rows
            },
            "left": {
                "head": old["head"],
                "prefix": 0 if both else old["prefix"],
                "backbone": 0 if both else old["backbone"],
            },
            "new": {
                "head": new["head"],
                "prefix": 0 if both else new["prefix"],
                "marker pieces": added * model.encoder.get_input_embeddings().embedding_dim,
            },
        }
        groups = {kind: {n: c for n, c in group.items() if c} for kind, group in groups.items()}
        log.info("start from %s", self.saved.folder)
        for kind, group in groups.items():
            for name, count in group.items():
                log.info("%s: %s (%s parameters)", kind, name, f"{count:,}")
        run = metrics_of(self.saved.folder)
        origin = {"dataset": run.get("dataset"), "fingerprint": run.get("fingerprint")}
        return {"task": self.saved.head.name, **origin, **groups}


def _parts(model: System) -> dict[str, int]:
    """Return the number of parameters of a model's encoder, prefix and head."""
    assert isinstance(model, TextEncoder)
    prefix = _count(model.prefix) if isinstance(model, PrefixedEncoder) else 0
    encoder = _count(model.encoder)
    return {"encoder": encoder, "prefix": prefix, "head": _count(model) - encoder - prefix}


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(weight.numel() for weight in module.parameters())


def _backbone(folder: Path) -> int:
    """Return the size of a saved model's fine-tuned backbone, with statistics; 0 if it has none."""
    if not (folder / BACKBONE).is_file():
        return 0
    return sum(weight.numel() for weight in read_state(folder / BACKBONE).values())
