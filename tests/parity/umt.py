"""UMT: our model against the published one, from pieces and maps of pictures to tags and gradients.

A set is a salt and cases of three posts. Weights and maps follow from their names, their shapes and
the salt (`recipe.py` and `state_dict.json` in the folder's parent); the weights go through our
import.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.released_umt import import_umt, our_name
from model.zoo.umt import AUXILIARY
from tests.parity.differences import Differences, Vectors
from tests.parity.watch import watched

# Absolute, save for gradients. Published with the vectors: at least twice what other processors,
# float64 and an independent implementation differ by.
TOLERANCES = {
    "projected cells": 5e-6,
    "text states": 2e-5,
    "image states": 1e-5,
    "gate": 1e-5,
    "attention": 1e-5,
    "classifiers' scores": 5e-5,
    "emissions": 3e-5,
    "log-likelihoods": 1e-3,
    "losses": 4e-4,
    "labels and tags that differ": 0.0,
    "gradient norms (relative)": 1e-4,
}
POSITIONS, REGIONS = (
    "positions",
    "regions",
)  # arrays: the tokens and the cells whose states are kept
STATES = (  # quantity, module, array of its outputs, and at which tokens or cells
    ("projected cells", "region_keys", "visual_1", REGIONS),
    ("projected cells", "region_queries", "visual_2", REGIONS),
    ("text states", "auxiliary.layer", "aux_text", POSITIONS),
    ("text states", "text_layer", "main_text", POSITIONS),
    ("text states", "text_to_image", "vision_aware", POSITIONS),
    ("text states", "text_to_text", "text_aware", POSITIONS),
    ("image states", "image_to_text", "image_side", REGIONS),
)
CHANNELS = (1792, 2048)  # of blocks 1 to 3, and of block 4


class Golden(Vectors):
    """Vectors of UMT: a salt, and cases of three posts."""

    def checkpoint(self) -> dict[str, Tensor]:
        """A published `pytorch_model.bin` with the recipe's weights."""
        shapes = json.loads((self.folder.parent / "state_dict.json").read_text())
        return {
            name: torch.from_numpy(self.recipe.fill(name, tuple(shape), self.meta["salt"]))
            for name, shape, _ in shapes
        }

    def labels(self) -> list[str]:
        """Labels of the main CRF by number."""
        numbers = self.meta["label_map"]
        return sorted(numbers, key=lambda label: numbers[label])

    def pictures(self, names: Sequence[str], grid: int) -> dict[str, Tensor]:
        """Pyramids of pictures by name; `zero` is a missing picture, whose row must not count."""
        pyramid = torch.ones(len(names), 1, sum(CHANNELS), grid, grid)
        for row, name in zip(pyramid, names, strict=True):
            if name != "zero":
                row[0, CHANNELS[0] :] = torch.from_numpy(
                    self.recipe.visual(name, self.meta["salt"])
                )
        return {"pyramid": pyramid, "regions": torch.tensor([[name != "zero"] for name in names])}


def umt(folder: Path) -> Differences:
    """All quantities of a set of the published UMT."""
    golden, found = Golden(folder), Differences(TOLERANCES)
    assert golden.meta["aux_label_map"] == {label: n for n, label in enumerate(AUXILIARY)}
    model = import_umt(golden.checkpoint(), golden.labels()).model
    for case in golden.meta["cases"]:
        arrays = dict(np.load(folder / f"{case['name']}.npz"))
        given = {
            "input_ids": torch.from_numpy(arrays["input_ids"]),
            "attention_mask": torch.from_numpy(arrays["attention_mask"]),
            **golden.pictures(arrays["visual_names"].tolist(), case["grid"]),
        }
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

    def some(tensor: Tensor, places: str) -> Tensor:
        chosen = torch.from_numpy(arrays[places]).expand(len(tensor), -1)
        return tensor[torch.arange(len(tensor))[:, None], chosen]

    final, auxiliary = states[..., : model.emission_width], states[..., model.emission_width :]
    read = seen["encoder"][1].last_hidden_state
    found.add("text states", some(read, POSITIONS), arrays["bert_states"])
    found.add("text states", some(final, POSITIONS), arrays["final"])
    found.add("gate", some(seen["gate"][1].sigmoid(), POSITIONS), arrays["gate"])
    for quantity, name, array, places in STATES:
        arguments, output = seen[name]
        found.add(quantity, some(output, places), arrays[array])
        if f"attention_{name}" in arrays:
            shares = model.get_submodule(name).attention(*arguments).transpose(1, 2)
            found.add("attention", some(shares, places), arrays[f"attention_{name}"])
    found.add("classifiers' scores", model.classifier(final), arrays["main_head"])
    found.add("classifiers' scores", model.auxiliary.classifier(auxiliary), arrays["aux_emissions"])
    found.add("emissions", model.emissions(states), arrays["emissions"])


def _compare_tagging(
    model: Any, given: Mapping[str, Tensor], arrays: Mapping[str, Any], found: Differences
) -> None:
    """Likelihoods, losses, tags, and the L2 norms of all gradients."""
    labels, mask = torch.from_numpy(arrays["labels"]), given["attention_mask"].bool()
    words = torch.arange(mask.shape[1]).where(mask, -1)
    model.zero_grad()
    with watched(model) as seen:
        answer = model(**given, words=words, labels=labels)
    differ = answer.tags.where(mask, -1).numpy() != arrays["tags"]
    found.note("labels and tags that differ", float(differ.sum()))
    losses = {}
    for prefix, name in (("", "crf"), ("aux_", "auxiliary.crf")):
        (scores, own, own_mask), likelihood = seen[name]
        crf = model.get_submodule(name)
        assert torch.equal(own_mask, mask)
        differ = own.where(mask, 0).numpy() != arrays[f"{prefix}labels"]
        found.note("labels and tags that differ", float(differ.sum()))
        rows = crf(scores, own, mask, reduction="none").detach()
        found.add("log-likelihoods", rows, arrays[f"{prefix}log_likelihood_rows"])
        losses[name] = -likelihood.item()
    found.add("losses", losses["crf"], arrays["main_loss"])
    found.add("losses", losses["auxiliary.crf"], arrays["aux_loss"])
    found.add("losses", answer.loss.item(), arrays["loss"])
    answer.loss.backward()
    _compare_gradients(model, arrays, found)


def _compare_gradients(model: nn.Module, arrays: Mapping[str, Any], found: Differences) -> None:
    """Of every parameter but the biases of keys, whose gradient is 0 but for rounding."""
    ours = {
        name: float(weight.grad.double().norm())  # float32 loses 2e-4 of a large matrix's
        for name, weight in model.named_parameters()
        if weight.grad is not None and not name.endswith("key.bias")
    }
    names = [our_name(name) for name in arrays["grad_names"].tolist()]
    assert {*names} == {*ours}, {*names} ^ {*ours}
    for name, theirs in zip(names, arrays["grad_norms"], strict=True):
        found.note("gradient norms (relative)", abs(ours[name] - theirs) / (theirs or 1.0))
