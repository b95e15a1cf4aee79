"""MEGA: our model in form released against the published one, from graphs to logits and gradients.

A set is a salt and files of three posts, `re_N.npz`; a file `released_graphs.npz` has graphs alone.
Weights and objects follow from their names, their shapes and the salt (`recipe.py` and
`state_dict.json` in the folder's parent); the weights go through our import.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.released_mega import import_mega, our_name
from model.zoo._alignment import (
    SLOTS,
    degree_features,
    released_alignment,
    released_relation,
    similarity,
)
from tests.parity.differences import Differences, Vectors
from tests.parity.watch import watched

# Absolute, save for gradients. Published with the vectors.
TOLERANCES = {
    "degree features": 1e-12,
    "similarities, alignments": 1e-11,
    "relation": 1e-6,
    "embeddings": 3e-6,
    "text states, entities": 1.5e-5,
    "objects (picture, query)": 2e-5,
    "text maps (G, K, V)": 2e-5,
    "attention, semantic": 5e-6,
    "structural": 1e-4,
    "combined, summed, fused": 2e-5,
    "logits, losses": 3e-5,
    "gradient norms (relative)": 1e-5,
    "gradients of key biases": 1e-5,
}


class Golden(Vectors):
    """Vectors of MEGA: a salt, and files of three posts."""

    def checkpoint(self) -> dict[str, Tensor]:
        """A published state dict with the recipe's weights."""
        shapes = json.loads((self.folder.parent / "state_dict.json").read_text())["re"]
        return {
            name: torch.from_numpy(self.recipe.fill(name, tuple(shape), self.meta["salt"]))
            for name, shape, _ in shapes
        }

    def pictures(self, names: np.ndarray) -> dict[str, Tensor]:
        """Objects (B, 10) by name as regions of one cell; a slot `zero` is absent, its row junk."""
        there = torch.from_numpy(names != "zero")
        vectors = [[self.recipe.feature(name, self.meta["salt"]) for name in row] for row in names]
        last = torch.from_numpy(np.array(vectors)).where(there[..., None], 1)
        pyramid = functional.pad(last, (last.shape[-1], 0))  # blocks that are not read
        return {"pyramid": pyramid[..., None, None], "regions": there}


def mega(folder: Path) -> Differences:
    """All quantities of a set of the published MEGA."""
    golden, found = Golden(folder), Differences(TOLERANCES)
    model = import_mega(golden.checkpoint(), golden.meta["re"]["labels"]).model
    for file in sorted(folder.glob("*.npz")):
        arrays = dict(np.load(file))
        graphs = [name.removeprefix("edges_") for name in arrays if name.startswith("edges_")]
        alignments = {name: _compare_graph(name, arrays, found) for name in graphs}
        if "input_ids" not in arrays:
            continue
        for n in range(len(arrays["rel"])):
            _compare_relation(n, alignments[str(n)], arrays, found)
        given = {
            "input_ids": torch.from_numpy(arrays["input_ids"]).long(),
            "attention_mask": torch.from_numpy(arrays["attention_mask"]).long(),
            **golden.pictures(arrays["features"]),
        }
        _compare_model(model, given, arrays, found)
    return found


def _compare_graph(name: str, arrays: Mapping[str, Any], found: Differences) -> Tensor:
    """Features, similarities, and alignments but for ties. Returns the published alignment."""
    edges, theirs = arrays[f"edges_{name}"], arrays[f"node_features_{name}"]
    ours = degree_features(edges.tolist(), len(edges) + 1 + SLOTS)
    padded = np.pad(theirs, ((0, 0), (0, ours.shape[1] - theirs.shape[1])))
    found.add("degree features", ours, padded)
    nodes = torch.from_numpy(ours)
    values = similarity(nodes[:-SLOTS], nodes[-SLOTS:])
    found.add("similarities, alignments", values, arrays[f"similarity_{name}"])
    alignment = arrays[f"alignment_{name}"]
    kept = released_alignment(nodes).sort().values
    found.add("similarities, alignments", kept, np.sort(alignment))
    return torch.from_numpy(alignment)


def _compare_relation(
    row: int, alignment: Tensor, arrays: Mapping[str, Any], found: Differences
) -> None:
    """The loader's values of a post, at the best counts of its entities' words.

    These counts are not in the vectors: all up to the number of an entity's pieces are tried.
    """
    ids, theirs = arrays["input_ids"][row], torch.from_numpy(arrays["rel"][row]).double()
    head, tail = (int(arrays[f"{name}_position"][row]) for name in ("head", "tail"))
    ends = [int(np.flatnonzero(ids == marker)[0]) for marker in (2, 4)]
    pieces = [end - start - 1 for start, end in zip((head, tail), ends, strict=True)]
    tried = [
        released_relation(
            alignment, [0, tail, tail + of_head + 1, head, head + of_tail + 1], len(theirs)
        )
        for of_head in range(1, pieces[0] + 1)
        for of_tail in range(1, pieces[1] + 1)
    ]
    found.note("relation", min(float((ours - theirs).abs().max()) for ours in tried))


def _compare_model(
    model: Any, given: Mapping[str, Tensor], arrays: Mapping[str, Any], found: Differences
) -> None:
    """The states of each step, logits, losses and gradients, with the published relation."""
    relation = torch.from_numpy(arrays["rel"]).reshape(-1, SLOTS, arrays["rel"].shape[1])
    length = relation.shape[-1]
    graph = {
        "degrees": torch.zeros(len(relation), 1, 8),
        "firsts": torch.full((len(relation), length), -1),
        "sizes": torch.zeros(len(relation), 2).long(),
    }
    places = np.stack([arrays["head_position"], arrays["tail_position"]], 1).astype(np.int64)
    labels = torch.from_numpy(arrays["labels"]).long()
    model.zero_grad()
    with patch.object(model, "relation", lambda *_: relation), watched(model) as seen:
        answer = model(**given, **graph, markers=torch.from_numpy(places), labels=labels)
    answer.loss.backward()
    _compare_steps(model, seen, arrays, found)
    losses = functional.cross_entropy(answer.logits, labels, reduction="none")
    found.add("logits, losses", answer.logits.detach(), arrays["logits"])
    found.add("logits, losses", losses.detach(), arrays["loss_rows"])
    found.add("logits, losses", answer.loss.item(), arrays["loss"])
    _compare_gradients(model, arrays, found)


@torch.no_grad()
def _compare_steps(
    model: Any,
    seen: Mapping[str, tuple[Any, Any]],
    arrays: Mapping[str, Any],
    found: Differences,
) -> None:
    """Arguments and outputs of the model's modules; of some, every n-th channel is kept."""
    output = {name: answer for name, (_, answer) in seen.items()}
    places = torch.from_numpy(arrays["positions"]).long()
    rows = torch.arange(len(places))[:, None]
    states = output["encoder"].last_hidden_state
    text = output["of_text"]
    found.add("embeddings", output["encoder.embeddings"][rows, places], arrays["bert_embedding"])
    found.add("text states, entities", states[rows, places], arrays["bert"])
    found.add("text maps (G, K, V)", text[rows, places, ::2], arrays["hidden_rel"])
    for name in ("key", "value"):
        found.add("text maps (G, K, V)", output[name][rows, places, ::4], arrays[name])
    found.add("objects (picture, query)", output["of_objects"][..., ::8], arrays["picture"])
    found.add("objects (picture, query)", output["query"][..., ::8], arrays["query"])
    everywhere = torch.ones(text.shape[:2], dtype=torch.bool)
    weights = model.attention(output["of_objects"], text, everywhere)
    found.add("attention, semantic", weights, arrays["attention"])
    semantic, structural = seen["merge"][0][0].chunk(2, -1)
    found.add("attention, semantic", semantic[..., ::8], arrays["semantic"])
    found.add("structural", structural[..., ::8], arrays["structural"])
    found.add("combined, summed, fused", output["merge"][..., ::8], arrays["combined"])
    entities, summed = seen["join"][0][0].split([arrays["entity"].shape[1], text.shape[-1]], -1)
    found.add("text states, entities", entities, arrays["entity"])
    found.add("combined, summed, fused", summed, arrays["summed"])
    found.add("combined, summed, fused", output["join"], arrays["fused"])


def _compare_gradients(model: nn.Module, arrays: Mapping[str, Any], found: Differences) -> None:
    """Of every parameter; those of keys' biases are 0 but for rounding."""
    ours = {
        name: float(weight.grad.double().norm())  # float32 loses 2e-4 of a large matrix's
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }
    names = [our_name(name) for name in arrays["grad_names"].tolist()]
    assert {*names} == {*ours}, {*names} ^ {*ours}
    for name, theirs in zip(names, arrays["grad_norms"], strict=True):
        difference = abs(ours[name] - theirs)
        if name.endswith("key.bias"):
            found.note("gradients of key biases", difference)
        else:
            found.note("gradient norms (relative)", difference / theirs)
