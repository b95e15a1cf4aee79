"""UMGF: our model against the published one, from pieces and pooled pictures to tags and gradients.

A set is a salt and cases of three posts. Weights and pictures follow from their names, their shapes
and the salt (`recipe.py` and `state_dict.json` in the folder's parent); the weights go through our
import.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.released_umgf import import_umgf, our_name
from tests.parity.differences import Differences, Vectors
from tests.parity.watch import watched

# Absolute, save for gradients. Published with the vectors: at least twice what other processors,
# float64 and an independent implementation differ by.
TOLERANCES = {
    "BERT's embeddings": 3e-6,
    "BERT's states": 1.5e-5,
    "mapped pictures": 5e-6,
    "mapped text": 1.5e-5,
    "attention": 2e-5,
    "gates": 2e-5,
    "states of the layers": 3e-5,
    "sums over pictures": 3e-5,
    "sums over the text": 6e-4,
    "emissions": 2e-5,
    "log-likelihoods and loss": 2e-4,
    "inputs and tags that differ": 0.0,
    "parameters with another gradient or none": 0.0,
    "gradient norms (relative)": 1e-4,
    "smallest gradient norms (of the largest)": 2e-5,
}
SMALLEST = 1e-4  # of the largest norm; below it a norm is little but rounding
CHANNELS = (1792, 2048)  # of blocks 1 to 3, and of block 4
TYPES = {"OTHER": "MISC"}  # published name -> the project's
ENDS = {"CLS": "[CLS]", "SEP": "[SEP]"}
STATES = (  # array, place in a layer, step in channels; at the kept tokens, or all pictures
    ("self_x", "text.attention_norm", 1),
    ("self_o", "pictures.attention_norm", 1),
    ("xgate", "text.gate_norm", 2),
    ("ogate", "pictures.gate_norm", 2),
    ("layer_x", "text.norm", 1),
    ("layer_o", "pictures.norm", 1),
)


class Golden(Vectors):
    """Vectors of UMGF: a salt, and cases of three posts."""

    def checkpoint(self) -> dict[str, Tensor]:
        """A published `model.pt` without its trunk, with the recipe's weights."""
        shapes = json.loads((self.folder.parent / "state_dict.json").read_text())["ner"]
        return {
            name: torch.from_numpy(self.recipe.fill(name, tuple(shape), self.meta["salt"]))
            for name, shape, _ in shapes
        }

    def labels(self) -> list[str]:
        """Labels of the CRF by number, by the project's names."""
        numbers = self.meta["ner"]["label_map"]
        ordered = sorted(numbers, key=lambda label: numbers[label])
        pairs = [label.partition("-") for label in ordered]
        return ["".join((ENDS.get(a, a), dash, TYPES.get(b, b))) for a, dash, b in pairs]

    def pictures(self, names: np.ndarray) -> dict[str, Tensor]:
        """Pyramids of one cell for names (B, R); an absent crop is all zero, yet counts."""
        pyramid = torch.ones(*names.shape, sum(CHANNELS), 1, 1)
        for place, name in np.ndenumerate(names):
            vector = self.recipe.feature(str(name), self.meta["salt"])
            pyramid[(*place, slice(CHANNELS[0], None))] = torch.from_numpy(vector)[:, None, None]
        return {"pyramid": pyramid, "regions": torch.ones(names.shape, dtype=torch.bool)}


def umgf(folder: Path) -> Differences:
    """All quantities of a set of the published UMGF."""
    golden, found = Golden(folder), Differences(TOLERANCES)
    model = import_umgf(golden.checkpoint(), golden.labels()).model
    for case in sorted(folder.glob("ner_*.npz")):
        arrays = dict(np.load(case))
        given = {
            "input_ids": torch.from_numpy(arrays["input_ids"]).long(),
            "attention_mask": torch.from_numpy(arrays["attention_mask"]).long(),
            **golden.pictures(arrays["features"]),
        }
        assert not arrays["token_type_ids"].any(), "one sentence only: token types are all 0"
        _compare_states(model, given, arrays, found)
        _compare_tagging(model, given, arrays, found)
    return found


@torch.no_grad()
def _compare_states(
    model: Any, given: Mapping[str, Tensor], arrays: Mapping[str, Any], found: Differences
) -> None:
    """The states of each step as the model computes them, and all scores, padding included."""
    with watched(model) as seen:
        states = model.states(**given)
    places = torch.from_numpy(arrays["positions"]).long()

    def some(tensor: Tensor) -> Tensor:
        return tensor[torch.arange(len(tensor))[:, None], places]

    found.add("BERT's embeddings", some(seen["encoder.embeddings"][1]), arrays["bert_embedding"])
    found.add("BERT's states", some(seen["encoder"][1].last_hidden_state), arrays["bert"])
    found.add("mapped pictures", seen["region_map"][1][..., ::16], arrays["resnet_fc"])
    found.add("mapped pictures", seen["picture_map"][1], arrays["trans_obj"])
    found.add("mapped text", some(seen["text_map"][1]), arrays["trans_txt"])
    for place, number in enumerate(arrays["layers"]):
        layer = f"layers.{number}"
        for array, part, step in STATES:
            output = seen[f"{layer}.{part}"][1][..., ::step]
            ours = some(output) if part.startswith("text") else output
            found.add("states of the layers", ours, arrays[array][place])
        shares = _shares(model, seen, f"{layer}.pictures.attention")
        found.add("attention", shares, arrays["att_o"][place])
        _compare_exchange(model.get_submodule(layer), seen, arrays, place, found)
    for place, layer in enumerate(("layers.0", "layers.5")):
        shares = _shares(model, seen, f"{layer}.text.attention")
        found.add("attention", shares[:, :, 0, :64], arrays["att_x_cls"][place])
    found.add("emissions", model.emissions(states), arrays["emissions"])


def _shares(model: nn.Module, seen: Mapping[str, Any], name: str) -> Tensor:
    attention: Any = model.get_submodule(name)
    shares: Tensor = attention.shares(*seen[name][0])
    return shares


def _compare_exchange(
    layer: Any, seen: Mapping[str, Any], arrays: Mapping[str, Any], place: int, found: Differences
) -> None:
    """The gates at two tokens of each post, and the gated sums, of a layer after attention."""
    name = f"layers.{arrays['layers'][place]}"
    sides = [seen[f"{name}.{side}.attention_norm"][1] for side in ("text", "pictures")]
    rows, places = torch.arange(len(sides[0]))[:, None], torch.from_numpy(arrays["positions"])
    two = places[:, [1, 3]].long()
    gates = layer.text.gates(*sides)[rows, two][..., ::4]
    found.add("gates", gates, arrays["x2o_gate"][place])
    gates = layer.pictures.gates(*sides)[rows, two][..., ::4]
    found.add("gates", gates.transpose(1, 2), arrays["o2x_gate"][place])
    to_text, to_pictures = layer.exchange(*sides, *seen[name][0][2:])
    found.add("sums over pictures", to_text[rows, places.long(), ::2], arrays["x2o"][place])
    found.add("sums over the text", to_pictures, arrays["o2x"][place])


def _compare_tagging(
    model: Any, given: Mapping[str, Tensor], arrays: Mapping[str, Any], found: Differences
) -> None:
    """Likelihoods, loss, tags, and the L2 norms of all gradients. The published loss is a sum."""
    mask, labels = given["attention_mask"].bool(), torch.from_numpy(arrays["labels"]).long()
    edges = mask.sum(1) * given["regions"].sum(1)
    differ = edges.numpy() != arrays["inter_matrix_sum"]
    found.note("inputs and tags that differ", float(differ.sum()))
    words = torch.arange(mask.shape[1]).where(mask, -1)
    model.zero_grad()
    answer = model(**given, words=words, labels=labels)
    differ = answer.tags.where(mask, -1).numpy() != arrays["tags"]
    found.note("inputs and tags that differ", float(differ.sum()))
    rows = model.crf(answer.emissions, labels, mask, reduction="none").detach()
    found.add("log-likelihoods and loss", rows, arrays["log_likelihood_rows"])
    loss = answer.loss * len(rows)
    found.add("log-likelihoods and loss", loss.item(), arrays["loss"])
    loss.backward()
    _compare_gradients(model, arrays, found)


def _compare_gradients(model: nn.Module, arrays: Mapping[str, Any], found: Differences) -> None:
    ours = {
        name: float(weight.grad.double().norm())  # float32 loses 2e-4 of a large matrix's
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }
    without = {name for name, _ in model.named_parameters()} - ours.keys()
    names = [our_name(name) for name in arrays["grad_names"].tolist()]
    differ = ({*names} ^ {*ours}) | ({our_name(str(n)) for n in arrays["no_grad_names"]} ^ without)
    found.note("parameters with another gradient or none", float(len(differ)))
    largest = arrays["grad_norms"].max()
    for name, theirs in zip(names, arrays["grad_norms"], strict=True):
        difference = abs(ours[name] - theirs)
        if theirs > SMALLEST * largest:
            found.note("gradient norms (relative)", difference / theirs)
        else:
            found.note("smallest gradient norms (of the largest)", difference / largest)
