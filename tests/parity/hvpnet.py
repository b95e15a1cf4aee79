"""HVPNeT: our model against the published one, from pictures and word pieces to tags and gradients.

A set is a salt, pictures, and cases of three posts. The weights follow from their names, their
shapes and the salt (`recipe.py` and `state_dict.json` in the folder's parent); they go through
our import.
"""

import json
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from features.backbone import load_backbone
from features.pictures import Preparation, prepare
from features.pyramid import pool
from features.weights import save_state
from model.hvpnet.prefixed import PrefixedEncoder
from model.released import GATE, Imported, import_released, our_name
from tests.parity.differences import Differences, Vectors

# Absolute, save for gradients. Published with the vectors: twice to four times what other threads,
# processors, float64 and an independent implementation differ by.
HVPNET = {
    "pixels": 1e-6,
    "pooled maps": 3e-5,
    "gates": 5e-6,
    "prefix keys and values": 2e-5,
    "prefix norms": 2e-3,  # of 12,288 such entries: 2e-5 · √12288
    "hidden, layer 0": 3e-6,
    "hidden, layer 1": 5e-6,
    "hidden, layer 6": 1.5e-5,
    "hidden, layer 12": 2e-5,
    "attention of [CLS]": 1e-5,
    "RE logits": 1.5e-5,
    "RE loss": 1.5e-5,
    "NER emissions": 3e-5,
    "NER log-likelihood and loss": 2e-4,
    "NER tags that differ": 0.0,
    "gradient norms (relative)": 1e-3,
}
PICTURES_AT_ONCE = 4


class Golden(Vectors):
    """Vectors of HVPNeT: a salt, pictures, and cases of three posts."""

    def checkpoint(self, task: str) -> dict[str, Tensor]:
        """A published `best_model.pth` of task "re" or "ner", with the recipe's weights."""
        shapes = json.loads((self.folder.parent / "state_dict.json").read_text())[task]
        return {name: self._tensor(name, tuple(shape), kind) for name, shape, kind in shapes}

    def _tensor(self, name: str, shape: tuple[int, ...], kind: str) -> Tensor:
        if "float" in kind:
            return torch.from_numpy(self.recipe.fill(name, shape, self.meta["salt"]))
        return torch.arange(shape[-1]).expand(shape) if shape else torch.tensor(0)

    def labels(self, task: str) -> list[str]:
        """Labels of a task by number."""
        if task == "re":
            return list(self.meta["re"]["labels"])
        numbers = self.meta["ner"]["label_map"]
        return sorted(numbers, key=lambda label: numbers[label])

    @cached_property
    def pictures(self) -> dict[str, Any]:
        """The arrays of `pictures.npz`."""
        return dict(np.load(self.folder / "pictures.npz"))

    def picture(self, name: str) -> np.ndarray | None:
        """(224, 224, 3) uint8 of a picture by name; None for the absent one, all zero."""
        if name == "zero":
            return None
        kind, number = name.split(":")
        if kind == "photo":
            photo: np.ndarray = self.pictures["photos"][int(number)]
            return photo
        drawn: np.ndarray = self.recipe.picture(name, self.meta["salt"])
        return drawn

    def cases(self, task: str) -> list[Path]:
        """The files of a task's cases."""
        return sorted(self.folder.glob(f"{task}_*.npz"))


def hvpnet(folder: Path) -> Differences:
    """All quantities of a set of the published HVPNeT."""
    golden, found = Golden(folder), Differences(HVPNET)
    pyramids: dict[str, Tensor] = {}
    for task, compare in (("re", _compare_relations), ("ner", _compare_entities)):
        state = golden.checkpoint(task)
        imported = import_released(state, golden.labels(task))
        bare = {name: t for name, t in state.items() if our_name(name).split(".")[0] in BARE}
        text_only = import_released(bare, golden.labels(task))
        if not pyramids:  # both tasks have the same backbone
            pyramids = _compare_pyramids(golden, imported, found)
        for case in golden.cases(task):
            given = _Case(dict(np.load(case)), pyramids)
            _compare_prefix(imported.model, given, found)
            compare(imported.model, text_only.model, given, found)
    return found


BARE = ("encoder", "classifier", "crf")  # the parts of a text-only model


class _Case:
    """One case: three posts, as tensors, and what the published code made of them."""

    def __init__(self, arrays: dict[str, np.ndarray], pyramids: Mapping[str, Tensor]) -> None:
        self.arrays = arrays
        self.text = {
            "input_ids": torch.from_numpy(arrays["input_ids"]).long(),
            "attention_mask": torch.from_numpy(arrays["attention_mask"]).long(),
        }
        assert not arrays["token_type_ids"].any(), "one sentence only: token types are all 0"
        names = arrays["pictures"]
        self.pictures = {
            "pyramid": torch.stack([torch.stack([pyramids[n] for n in row]) for row in names]),
            "regions": torch.from_numpy(names != "zero"),
        }
        self.labels = torch.from_numpy(arrays["labels"]).long()

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]


@torch.no_grad()
def _compare_pyramids(golden: Golden, imported: Imported, found: Differences) -> dict[str, Tensor]:
    """Pictures -> our pyramids (ΣC, 2, 2) by name, through the checkpoint's own backbone."""
    names = [str(name) for name in golden.pictures["names"]]
    pixels = [_compare_pixels(golden, name, found) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "backbone.safetensors"
        save_state(imported.backbone, file)
        backbone = load_backbone("resnet50", str(file), seed=0)
    blocks = [golden.pictures[f"pooled_block{number}"] for number in (1, 2, 3, 4)]
    ours = torch.cat([pool(backbone(torch.stack(part)), 2, "floor") for part in _parts(pixels)])
    found.add("pooled maps", ours, np.concatenate(blocks, axis=1))
    return dict(zip(names, ours, strict=True))


def _parts(pixels: list[Tensor]) -> list[list[Tensor]]:
    return [pixels[n : n + PICTURES_AT_ONCE] for n in range(0, len(pixels), PICTURES_AT_ONCE)]


def _compare_pixels(golden: Golden, name: str, found: Differences) -> Tensor:
    picture = golden.picture(name)
    if picture is None:
        return torch.zeros(3, 224, 224)
    ours = prepare(Image.fromarray(picture), None, Preparation("stretch", 224))
    found.add("pixels", ours, golden.recipe.pixel_values(picture))
    return ours


@torch.no_grad()
def _compare_prefix(model: PrefixedEncoder, case: _Case, found: Differences) -> None:
    """Gates, prefix, hidden states, attention."""
    assert model.prefix is not None
    pyramid = case.pictures["pyramid"]
    gate = model.prefix.gate(model.prefix.pooled(model.prefix.blocks(pyramid)))  # (B, R, L, 4)
    found.add("gates", gate.permute(2, 0, 1, 3), case["gates"])
    prefix = torch.stack(model.prefix(pyramid))  # (L, 2, B, heads, P, D)
    some = prefix[case["prefix_layers"].tolist()][:, :, case["prefix_rows"].tolist()]
    for part, name in enumerate(("prefix_key", "prefix_value")):
        found.add("prefix keys and values", some[:, part], case[name])
    found.add("prefix norms", prefix.flatten(3).norm(dim=-1), case["prefix_norm"])
    wanted: Any = {"output_hidden_states": True, "output_attentions": True}
    output = model.encode(**case.text, **case.pictures, **wanted)
    places = torch.from_numpy(case["hidden_positions"]).long()
    rows = torch.arange(len(places))[:, None]
    for layer, theirs in zip(case["hidden_layers"], case["hidden"], strict=True):
        found.add(f"hidden, layer {layer}", output.hidden_states[layer][rows, places], theirs)
    if "attention_cls" in case.arrays:
        for layer, theirs in zip(case["attention_layers"], case["attention_cls"], strict=True):
            found.add("attention of [CLS]", output.attentions[layer][:, :, 0], theirs)


def _compare_relations(
    model: PrefixedEncoder, text_only: PrefixedEncoder, case: _Case, found: Differences
) -> None:
    ids, opening = case.text["input_ids"], case["marker_ids"][[0, 2]].tolist()
    markers = torch.stack([(ids == marker).int().argmax(1) for marker in opening], dim=1)
    given = {**case.text, "markers": markers, "labels": case.labels}
    answer = model(**given, **case.pictures)
    found.add("RE logits", answer.logits.detach(), case["logits"])
    found.add("RE loss", answer.loss.item(), case["loss"])
    rows = functional.cross_entropy(answer.logits.detach(), case.labels, reduction="none")
    found.add("RE loss", rows, case["loss_rows"])
    _compare_gradients(model, answer.loss, case, found)
    bare = text_only(**given)
    found.add("RE logits", bare.logits.detach(), case["text_only_logits"])
    found.add("RE loss", bare.loss.item(), case["text_only_loss"])


def _compare_entities(
    model: PrefixedEncoder, text_only: PrefixedEncoder, case: _Case, found: Differences
) -> None:
    mask = case.text["attention_mask"].bool()
    every = torch.arange(mask.shape[1]).expand_as(mask)
    given = {**case.text, "words": every.where(mask, -1), "labels": case.labels}
    for one, pictures, prefix in ((model, case.pictures, ""), (text_only, {}, "text_only_")):
        answer = one(**given, **pictures)
        # The tagger reads emissions of real pieces only; the published ones have padding's too.
        head: Any = one
        all_emissions = head.classifier(one.states(**case.text, **pictures))
        found.add("NER emissions", all_emissions.detach(), case[f"{prefix}emissions"])
        found.add(
            "NER emissions",
            answer.emissions.detach()[mask],
            case[f"{prefix}emissions"][mask.numpy()],
        )
        found.add("NER log-likelihood and loss", answer.loss.item(), case[f"{prefix}loss"])
        tags = answer.tags.where(mask, -1).numpy()
        found.note("NER tags that differ", float((tags != case[f"{prefix}tags"]).sum()))
        if not prefix:
            likelihood = head.crf(answer.emissions, case.labels, mask, reduction="none")
            found.add(
                "NER log-likelihood and loss", likelihood.detach(), case["log_likelihood_rows"]
            )
            _compare_gradients(model, answer.loss, case, found)


def _compare_gradients(
    model: PrefixedEncoder, loss: Tensor, case: _Case, found: Differences
) -> None:
    """L2 norms of the gradients of all published parameters."""
    model.zero_grad()
    torch.autograd.backward(loss)
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    names = case["grad_names"].tolist()
    assert {_our_name(name) for name in names} == ours.keys()
    for name, theirs in zip(names, case["grad_norms"], strict=True):
        gradient = _gradient(ours, name)
        found.note("gradient norms (relative)", abs(float(gradient.norm()) / theirs - 1))
    model.zero_grad()


def _gradient(ours: Mapping[str, Tensor | None], published: str) -> Tensor:
    gate = GATE.fullmatch(published)
    found = ours[_our_name(published)]
    assert found is not None
    return found.unflatten(0, (-1, 4))[int(gate[1])] if gate else found


def _our_name(published: str) -> str:
    gate = GATE.fullmatch(published)
    return f"prefix.gate.mlp.{gate[2]}" if gate else our_name(published)
