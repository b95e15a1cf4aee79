"""Convert a published UMGF checkpoint (`model.pt`) to a model of system `umgf` and its backbone.

The backbone is a ResNet-152 that was trained with the model. Each key is converted, listed in
`left_out` with the reason, or refused.
"""

import re
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

SYSTEM = "umgf"
GRID = 1  # the published pictures are global averages
_REGIONS = "trans_obj.0.weight"  # no other published checkpoint has it
TRUNK, _TRUNK_MAP = "resnet.", "resnet.fc."  # the map replaces the classifier
_NAMES = {  # prefix of a published parameter's name -> prefix of its name here
    "bert.": "encoder.",
    "trans_txt.": "text_map.",
    "trans_obj.": "picture_map.",
    _TRUNK_MAP: "region_map.",
    "hidden2tag.": "classifier.",
}
_IN_LAYERS = {  # list of published modules, one for each layer -> prefix in a layer here
    "mhatt_x": "text.attention.",
    "res4mes_x": "text.attention_norm.",
    "mhatt_x2o": "text.gate.",
    "xgate": "text.gate_norm.",
    "ffn_x": "text.",
    "res4ffn_x": "text.norm.",
    "mhatt_o": "pictures.attention.",
    "res4mes_o": "pictures.attention_norm.",
    "mhatt_o2x": "pictures.gate.",
    "ogate": "pictures.gate_norm.",
    "ffn_o": "pictures.",
    "res4ffn_o": "pictures.norm.",
}
_INNER = {  # prefix inside such a module -> prefix here
    "linears.0.": "query.",
    "linears.1.": "key.",
    "linears.2.": "value.",
    "linears.3.": "merge.",
    "w_1.": "inner.",
    "w_2.": "outer.",
    "norm.": "",
}
_IN_LAYER = re.compile(rf"({'|'.join(_IN_LAYERS)})\.(\d+)\.(.+)")


def is_umgf(state: Mapping[str, Tensor]) -> bool:
    """Return True for the state dict of a published UMGF."""
    return _REGIONS in unwrapped(state)


def import_umgf(state: Mapping[str, Tensor], labels: Sequence[str]) -> Imported:
    """Convert a published checkpoint.

    state: the state dict of the file.
    labels: of the CRF, in the order of their numbers.

    Raises ReleasedError if a key is missing, unknown, or of a wrong shape; the backbone's keys are
    not checked.
    """
    state = unwrapped(state)
    trunk = {key for key in state if key.startswith(TRUNK) and not key.startswith(_TRUNK_MAP)}
    ours = {our_name(key): tensor for key, tensor in state.items() if key not in trunk}
    left_out = drop_positions(ours)
    with known_form():
        encoder = bert_config(ours)
        channels = block_channels(len(ours[our_name(f"{_TRUNK_MAP}bias")]))
    config = ExtractorConfig(
        encoder=encoder.to_dict(),
        system=SYSTEM,
        block_channels=channels,
        grid=GRID,
        dropout=0.0,  # before the classifier; the other layers have their own
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = model_class("ner", SYSTEM)(config)
    fill(model, ours)
    backbone = {key.removeprefix(TRUNK): state[key] for key in trunk}
    return Imported(model.eval(), backbone, left_out)


def our_name(published: str) -> str:
    """Return the name that a published parameter has here; an unknown one keeps its name."""
    if match := _IN_LAYER.fullmatch(published):
        part, number, rest = match.groups()
        return f"layers.{number}.{_IN_LAYERS[part]}{renamed(rest, _INNER)}"
    return renamed(published, _NAMES)
