"""Published checkpoints (`best_model.pth`) -> our model in style `released`, and its backbone.

Every key of a checkpoint is taken, or named as left out with the reason, or refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig

from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder
from model.errors import ModelError
from model.hvpnet.variants import HVPNET, RELEASED, TEXT_ONLY
from model.ner import EntityTagger
from model.relation import RelationExtractor

BACKBONE = "image_model.resnet."
HEAD_WIDTH = 64  # of every published BERT: heads leave no trace in the weights' shapes
NAMES = {  # how a published parameter's name begins -> how ours does
    "bert.": "encoder.",
    "encoder_conv.": "prefix.map.",
    "fc.": "classifier.",
}
GATE = re.compile(r"gates\.(\d+)\.(weight|bias)")  # one a layer; ours are one matrix
POSITIONS = "encoder.embeddings.position_ids"
BLOCK_RATIO = (1, 2, 4, 8)  # channels of a ResNet's four blocks


class ReleasedError(ModelError):
    """A file that is no published checkpoint. The message is one line."""


@dataclass(frozen=True)
class Imported:
    """A published checkpoint in our form.

    `backbone`: weights and BatchNorm statistics by torchvision's names, empty for a text-only
    checkpoint. `left_out`: key -> why.
    """

    model: PrefixedEncoder
    backbone: dict[str, Tensor]
    left_out: dict[str, str]


def import_released(state: Mapping[str, Tensor], labels: Sequence[str]) -> Imported:
    """Turn a published checkpoint into our model and its backbone.

    `state`: as the file holds it. `labels`: the head's, in the order of their numbers. Whether it
    has pictures, and its sizes, are read off keys and shapes. Raises ReleasedError where a key is
    missing, not known, or of another shape.
    """
    state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    pictured = {key: tensor for key, tensor in state.items() if key.startswith(BACKBONE)}
    ours = _renamed({key: tensor for key, tensor in state.items() if key not in pictured})
    left_out = {key: "the ResNet's classifier, never used" for key in pictured if ".fc." in key}
    if ours.pop(POSITIONS, None) is not None:
        left_out["bert.embeddings.position_ids"] = "a constant, 0, 1, 2, …"
    try:
        config = _config(ours, labels, tagger=is_tagger(state))
    except KeyError as error:
        raise ReleasedError(f"no published checkpoint: {error.args[0]} is missing") from error
    model = (EntityTagger if is_tagger(state) else RelationExtractor)(config)
    _fill(model, ours)
    backbone = {
        key.removeprefix(BACKBONE): tensor
        for key, tensor in pictured.items()
        if key not in left_out
    }
    return Imported(model.eval(), backbone, left_out)


def is_tagger(state: Mapping[str, Tensor]) -> bool:
    """Whether a published checkpoint is of entities: only these have a CRF."""
    return any(key.removeprefix("module.").startswith("crf.") for key in state)


def our_name(published: str) -> str:
    """Our name of a published parameter, gates excepted."""
    for theirs, ours in NAMES.items():
        if published.startswith(theirs):
            return ours + published.removeprefix(theirs)
    return published


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All but the backbone under our names; a key that has none keeps its own."""
    ours = {our_name(key): tensor for key, tensor in state.items() if not GATE.fullmatch(key)}
    gates = {key: match for key in state if (match := GATE.fullmatch(key))}
    for part in ("weight", "bias"):
        keys = [key for key, match in gates.items() if match[2] == part]
        keys.sort(key=lambda key: int(gates[key][1]))
        if keys:
            ours[f"prefix.gate.mlp.{part}"] = torch.cat([state[key] for key in keys])
    return ours


def _config(ours: Mapping[str, Tensor], labels: Sequence[str], tagger: bool) -> ExtractorConfig:
    """Sizes as the weights' shapes tell them; the rest is the published code's."""
    words, hidden = ours["encoder.embeddings.word_embeddings.weight"].shape
    layers = {name.split(".")[3] for name in ours if name.startswith("encoder.encoder.layer.")}
    inner = ours["encoder.encoder.layer.0.intermediate.dense.weight"]
    encoder = BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=len(layers),
        num_attention_heads=hidden // HEAD_WIDTH,
        intermediate_size=len(inner),
        max_position_embeddings=len(ours["encoder.embeddings.position_embeddings.weight"]),
        type_vocab_size=len(ours["encoder.embeddings.token_type_embeddings.weight"]),
    )
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
        dropout=0.1 if tagger else 0.0,  # the relation model has one and never applies it
        marker_ids=() if tagger else tuple(range(words - 4, words)),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        **shape,
    )


def _fill(model: PrefixedEncoder, ours: Mapping[str, Tensor]) -> None:
    wanted = model.state_dict()
    faults = {
        "missing": [name for name in wanted if name not in ours],
        "not known": [name for name in ours if name not in wanted],
        "other shape": [
            f"{name} {tuple(ours[name].shape)} not {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in ours and ours[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        told = "; ".join(
            f"{kind}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" * (len(names) > 4))
            for kind, names in faults.items()
            if names
        )
        raise ReleasedError(f"no published checkpoint, by our names of its keys: {told}")
    model.load_state_dict(ours)
