"""Convert a published UMT checkpoint (`pytorch_model.bin`) to a model of system `umt`.

It holds no backbone: the published pictures are 7×7 maps of torchvision's ResNet-152. Each key is
converted, listed in `left_out` with the reason, or refused.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from model.config import ExtractorConfig
from model.released import (
    Imported,
    bert_config,
    block_channels,
    drop_positions,
    fill,
    known_form,
    renamed,
    unwrapped,
)
from model.systems import model_class

SYSTEM = "umt"
GRID = 7  # side of the published maps
_REGIONS = "vismap2text.weight"  # no other published checkpoint has it
_NAMES = {  # prefix of a published parameter's name -> prefix of its name here
    "bert.": "encoder.",
    "self_attention.layer.0.": "auxiliary.layer.",
    "self_attention_v2.layer.0.": "text_layer.",
    "txt2img_attention.layer.0.": "text_to_image.",
    "img2txt_attention.layer.0.": "image_to_text.",
    "txt2txt_attention.layer.0.": "text_to_text.",
    "vismap2text.": "region_keys.",
    "vismap2text_v2.": "region_queries.",
    "aux_classifier.": "auxiliary.classifier.",
    "aux_crf.": "auxiliary.crf.",
}
_IN_LAYER = {  # the same inside one of the five layers
    "attention.self.": "",
    "attention.output.dense.": "merge.",
    "attention.output.LayerNorm.": "attention_norm.",
    "intermediate.dense.": "inner.",
    "output.dense.": "outer.",
    "output.LayerNorm.": "norm.",
}


def is_umt(state: Mapping[str, Tensor]) -> bool:
    """Return True for the state dict of a published UMT."""
    return _REGIONS in unwrapped(state)


def import_umt(state: Mapping[str, Tensor], labels: Sequence[str]) -> Imported:
    """Convert a published checkpoint.

    state: the state dict of the file.
    labels: of the main CRF, in the order of their numbers.

    Raises ReleasedError if a key is missing, unknown, or of a wrong shape.
    """
    ours = {our_name(key): tensor for key, tensor in unwrapped(state).items()}
    left_out = drop_positions(ours)
    with known_form():
        encoder = bert_config(ours)
    config = ExtractorConfig(
        encoder=encoder.to_dict(),
        system=SYSTEM,
        block_channels=block_channels(ours[our_name(_REGIONS)].shape[1]),
        grid=GRID,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = model_class("ner", SYSTEM)(config)
    fill(model, ours)
    return Imported(model.eval(), {}, left_out)


def our_name(published: str) -> str:
    """Return the name that a published parameter has here; an unknown one keeps its name."""
    for prefix, replacement in _NAMES.items():
        if published.startswith(prefix):
            rest = published.removeprefix(prefix)
            return replacement + (
                renamed(rest, _IN_LAYER) if prefix.endswith(".layer.0.") else rest
            )
    return published
