"""Convert a published checkpoint (`best_model.pth`) to a model in style released and its backbone.

Each key of a checkpoint is converted, listed in `left_out` with the reason, or refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig

from model.config import ExtractorConfig
from model.contract import System
from model.errors import ModelError
from model.hvpnet.variants import HVPNET, RELEASED, TEXT_ONLY
from model.ner import EntityTagger
from model.relation import RelationExtractor

BACKBONE = "image_model.resnet."
HEAD_WIDTH = 64  # of every published BERT; shapes of weights do not show the number of heads
NAMES = {  # prefix of a published parameter's name -> prefix of its name here
    "bert.": "encoder.",
    "encoder_conv.": "prefix.map.",
    "fc.": "classifier.",
}
GATE = re.compile(r"gates\.(\d+)\.(weight|bias)")  # one for each layer; here all are one matrix
POSITIONS = "encoder.embeddings.position_ids"
BLOCK_RATIO = (1, 2, 4, 8)  # channels of a ResNet's four blocks


class ReleasedError(ModelError):
    """A file that is not a published checkpoint. The message is one line."""


@dataclass(frozen=True)
class Imported:
    """A converted checkpoint.

    model: in eval mode.
    backbone: weights and BatchNorm statistics by torchvision's names; empty if text-only.
    left_out: key that was not converted -> reason.
    """

    model: System
    backbone: dict[str, Tensor]
    left_out: dict[str, str]


def import_released(state: Mapping[str, Tensor], labels: Sequence[str]) -> Imported:
    """Convert a published checkpoint to a model and its backbone.

    state: the state dict of the file.
    labels: of the head, in the order of their numbers.

    Task, sizes, and the use of pictures follow from keys and shapes. Raises ReleasedError if a key
    is missing, unknown, or of a wrong shape.
    """
    state = unwrapped(state)
    pictured = {key: tensor for key, tensor in state.items() if key.startswith(BACKBONE)}
    ours = _renamed({key: tensor for key, tensor in state.items() if key not in pictured})
    left_out = {key: "the ResNet's classifier, never used" for key in pictured if ".fc." in key}
    left_out |= drop_positions(ours)
    with known_form():
        config = _config(ours, labels, tagger=is_tagger(state))
    model = (EntityTagger if is_tagger(state) else RelationExtractor)(config)
    fill(model, ours)
    backbone = {
        key.removeprefix(BACKBONE): tensor
        for key, tensor in pictured.items()
        if key not in left_out
    }
    return Imported(model.eval(), backbone, left_out)


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefix that training on several GPUs adds to its keys."""
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def drop_positions(ours: dict[str, Tensor]) -> dict[str, str]:
    """Remove the encoder's constant, which old files hold. Returns its key with the reason."""
    found = ours.pop(POSITIONS, None) is not None
    return {"bert.embeddings.position_ids": "a constant, 0, 1, 2, …"} if found else {}


def is_tagger(state: Mapping[str, Tensor]) -> bool:
    """Return True if a published checkpoint tags entities: only those have a CRF."""
    return any(key.removeprefix("module.").startswith("crf.") for key in state)


def our_name(published: str) -> str:
    """Return the name that a published parameter has here; for gates see `_renamed`."""
    return renamed(published, NAMES)


def renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Return a name with its prefix replaced by the first that fits; another keeps its name."""
    for prefix, replacement in prefixes.items():
        if name.startswith(prefix):
            return replacement + name.removeprefix(prefix)
    return name


def block_channels(last: int) -> tuple[int, ...]:
    """Return the channels of a ResNet's four blocks. last: those of the last block."""
    return tuple(last * ratio // BLOCK_RATIO[-1] for ratio in BLOCK_RATIO)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename all keys except the backbone's; unknown keys keep their name."""
    ours = {our_name(key): tensor for key, tensor in state.items() if not GATE.fullmatch(key)}
    gates = {key: match for key in state if (match := GATE.fullmatch(key))}
    for part in ("weight", "bias"):
        keys = [key for key, match in gates.items() if match[2] == part]
        keys.sort(key=lambda key: int(gates[key][1]))
        if keys:
            ours[f"prefix.gate.mlp.{part}"] = torch.cat([state[key] for key in keys])
    return ours


@contextmanager
def known_form() -> Iterator[None]:
    """Raise ReleasedError for a key that is not there, although it shows a size."""
    try:
        yield
    except KeyError as error:
        raise ReleasedError(f"not a published checkpoint: {error.args[0]} is missing") from error


def bert_config(ours: Mapping[str, Tensor]) -> BertConfig:
    """Read the sizes of the text encoder off its weights' shapes. ours: weights by our names."""
    words, hidden = ours["encoder.embeddings.word_embeddings.weight"].shape
    layers = {name.split(".")[3] for name in ours if name.startswith("encoder.encoder.layer.")}
    inner = ours["encoder.encoder.layer.0.intermediate.dense.weight"]
    return BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=len(layers),
        num_attention_heads=hidden // HEAD_WIDTH,
        intermediate_size=len(inner),
        max_position_embeddings=len(ours["encoder.embeddings.position_embeddings.weight"]),
        type_vocab_size=len(ours["encoder.embeddings.token_type_embeddings.weight"]),
    )


def _config(ours: Mapping[str, Tensor], labels: Sequence[str], tagger: bool) -> ExtractorConfig:
    """Read sizes off the weights' shapes; other settings are those of the published code."""
    encoder = bert_config(ours)
    words, hidden = encoder.vocab_size, encoder.hidden_size
    shape: dict[str, Any] = {}
    pictured = any(name.startswith("prefix.") for name in ours)
    if pictured:
        bottleneck, channels = ours["prefix.map.0.weight"].shape
        positions = ours["prefix.gate.mlp.weight"].shape[1] // (2 * hidden)
        unit = channels // sum(BLOCK_RATIO)
        shape = {
            "block_channels": tuple(unit * ratio for ratio in BLOCK_RATIO),
            "grid": isqrt(positions),
            "bottleneck": bottleneck,
        }
    return ExtractorConfig(
        encoder=encoder.to_dict(),
        style=RELEASED,
        variant=HVPNET if pictured else TEXT_ONLY,
        dropout=0.1 if tagger else 0.0,  # the published relation model never applies its dropout
        marker_ids=() if tagger else tuple(range(words - 4, words)),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        **shape,
    )


def fill(model: System, ours: Mapping[str, Tensor]) -> None:
    """Load weights by our names. Raises ReleasedError unless all keys and shapes fit the model."""
    expected = model.state_dict()
    faults = {
        "missing": [name for name in expected if name not in ours],
        "not known": [name for name in ours if name not in expected],
        "other shape": [
            f"{name}: expected {tuple(tensor.shape)}, found {tuple(ours[name].shape)}"
            for name, tensor in expected.items()
            if name in ours and ours[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        message = "; ".join(
            f"{kind}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" * (len(names) > 4))
            for kind, names in faults.items()
            if names
        )
        raise ReleasedError(f"not a published checkpoint (keys as renamed here): {message}")
    model.load_state_dict(ours)
