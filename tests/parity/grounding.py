"""FAOA, the grounding network behind the published crops: ours against the published one.

The weights follow from their names, their shapes and the salt (`recipe.py` and `shapes.json` in
the folder's parent). They are written as a published checkpoint is, and go through our reading of
one; the trunk's also as a darknet file. Our side computes in float64, so that what differs is the
vectors' own rounding (maps reach 41 with such weights: float32 alone makes up to 9e-4 here).
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.grounding.anchors import COCO_ANCHORS, FLICKR_ANCHORS
from features.grounding.darknet import LAYERS, Conv, Darknet, load_darknet
from features.grounding.faoa import Faoa, best_boxes, load_faoa, normalise
from features.grounding.letterbox import Placement, letterbox
from features.grounding.words import Words
from tests.parity.differences import Differences, Vectors

# Published with the vectors; boxes are in pixels, the letterbox in grey levels.
GROUNDING = {
    "letterbox": 1.0,
    "letterbox placement": 1e-3,
    "input": 1e-5,
    "trunk": 1e-3,
    "darknet weights that differ": 0.0,
    "word ids that differ": 0.0,
    "language": 1e-3,
    "outputs": 1e-3,
    "best index": 0.0,
    "best logit": 1e-3,
    "softmax confidence": 1e-3,
    "boxes in the frame": 1e-2,
    "boxes in the picture": 1e-2,
}
VARIANTS = ("bert", "lstm", "lstm_light")
ANCHORS = {"flickr": FLICKR_ANCHORS, "default": COCO_ANCHORS}
HEADER = (0, 2, 0, 32013312, 0)


class Golden(Vectors):
    """Vectors of FAOA: two pictures, two phrases, three variants of the network."""

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return dict(np.load(self.folder / "vectors.npz"))

    def checkpoint(self, variant: str) -> dict[str, Tensor]:
        """A published state dict with the recipe's weights, names as DataParallel has them."""
        shapes = json.loads((self.folder.parent / "shapes.json").read_text())[variant]
        fill, salt = self.recipe.fill, self.meta["salt"]
        weights = {name: fill(name, shape, salt) for name, shape in shapes.items()}
        return {f"module.{name}": torch.from_numpy(array) for name, array in weights.items()}

    def vocabulary(self, variant: str, folder: Path) -> str:
        """The recipe's words, in a file of the form that our code reads."""
        if variant == "bert":
            file = folder / "vocab.txt"
            file.write_text("\n".join(self.recipe.BERT_VOCAB), encoding="utf-8")
        else:
            file = folder / "words.json"
            file.write_text(json.dumps(self.recipe.VOCAB), encoding="utf-8")
        return str(file)


@torch.inference_mode()
def grounding(folder: Path) -> Differences:
    """All quantities of a set of the published grounding network."""
    golden, found = Golden(folder), Differences(GROUNDING)
    placements = [_compare_letterbox(golden.arrays, n, found) for n in (0, 1)]
    frames = [golden.arrays[f"letterbox{n}"] for n in (0, 1)]
    with tempfile.TemporaryDirectory() as name:
        for variant in VARIANTS:
            file = Path(name) / "model.pth.tar"
            state = golden.checkpoint(variant)
            torch.save({"epoch": 1, "state_dict": state, "best_loss": np.float64(0.5)}, file)
            network = load_faoa(file).double()
            if variant == VARIANTS[0]:  # the trunk is the same in all
                _compare_trunk(network.visumodel, golden, frames, Path(name), found)
            known = len(state[EMBEDDINGS[variant == "bert"]])
            words = Words(golden.vocabulary(variant, Path(name)), variant == "bert", known)
            _compare_variant(network, words, variant, golden.arrays, placements, found)
    return found


EMBEDDINGS = {
    True: "module.textmodel.embeddings.word_embeddings.weight",
    False: "module.textmodel.embedding.weight",
}


def _compare_letterbox(arrays: Mapping[str, Any], number: int, found: Differences) -> Placement:
    frame, placement = letterbox(Image.fromarray(arrays[f"image{number}"]))
    found.add("letterbox", frame, arrays[f"letterbox{number}"])
    ours = (placement.ratio, placement.left, placement.top)
    found.add("letterbox placement", ours, arrays[f"ratio_dw_dh{number}"])
    pixels = normalise([arrays[f"letterbox{number}"]])[0]
    found.add("input", pixels[:, ::32, ::32], arrays[f"input_sample{number}"])
    return placement


def _compare_trunk(
    trunk: Darknet,
    golden: Golden,
    frames: Sequence[np.ndarray],
    folder: Path,
    found: Differences,
) -> None:
    for stride, ours in enumerate(trunk(normalise(frames).double())):
        step = 2**stride
        sample = ours[:, ::16, ::step, ::step]
        found.add("trunk", sample, golden.arrays[f"trunk{stride}_sample"])
    file = folder / "yolov3.weights"
    _write_darknet(golden, trunk, file)
    read = Darknet()
    load_darknet(read, file)
    theirs = trunk.state_dict()
    for name, ours in read.state_dict().items():
        found.note("darknet weights that differ", float((ours != theirs[name]).sum()))


def _write_darknet(golden: Golden, trunk: Darknet, file: Path) -> None:
    """The recipe's weights as a darknet file holds them, by the file's own description."""
    with file.open("wb") as out:
        np.array(HEADER, "<i4").tofile(out)
        for number, layer in enumerate(LAYERS):
            if not isinstance(layer, Conv):
                continue
            place = f"module_list.{number}"
            norm, conv = f"{place}.batch_norm_{number}", f"{place}.conv_{number}"
            names = [f"{norm}.{part}" for part in ("bias", "weight", "running_mean", "running_var")]
            for name in [*(names if layer.norm else [f"{conv}.bias"]), f"{conv}.weight"]:
                shape = trunk.get_parameter(name).shape if "running" not in name else None
                shape = trunk.get_buffer(name).shape if shape is None else shape
                fill = golden.recipe.fill(f"visumodel.{name}", tuple(shape), golden.meta["salt"])
                fill.astype("<f4").tofile(out)


def _compare_variant(
    network: Faoa,
    words: Words,
    variant: str,
    arrays: Mapping[str, Any],
    placements: Sequence[Placement],
    found: Differences,
) -> None:
    """Rows are (picture 0, phrase 0), (0, 1), (1, 0), (1, 1)."""
    ids, mask = words([str(phrase) for phrase in arrays["queries"]] * 2)
    published = "bert" if variant == "bert" else "lstm"
    found.note("word ids that differ", float((ids.numpy() != arrays[f"{published}/word_id"]).sum()))
    if variant == "bert":
        differ = mask.numpy() != arrays["bert/word_mask"]
        found.note("word ids that differ", float(differ.sum()))
    language = network.read(ids, mask)
    found.add("language", language, arrays[f"{variant}/flang"])
    seen = network.see(normalise([arrays["letterbox0"], arrays["letterbox1"]]).double())
    outputs = network.locate([m[[0, 0, 1, 1]] for m in seen], language)
    for stride, ours in enumerate(outputs):
        found.add("outputs", ours, arrays[f"{variant}/out{stride}"])
    for data, anchors in ANCHORS.items():
        boxes, places, scores = best_boxes(outputs, anchors)
        found.add("best index", places, arrays[f"{variant}/best_index"])
        found.add("best logit", _logits(outputs, places), arrays[f"{variant}/best_logit"])
        found.add("softmax confidence", scores, arrays[f"{variant}/softmax_conf"])
        found.add("boxes in the frame", boxes, arrays[f"{variant}/box_input_{data}"])
        for row, box in enumerate(boxes.double().numpy()):
            height, width = arrays["clamp_hw"][row // 2]
            ours = placements[row // 2].to_picture(box[None])[0]
            # The published code clamps two sides of each box; ours are clamped by selection.
            ours = np.maximum(ours, [0, 0, -np.inf, -np.inf])
            ours = np.minimum(ours, [np.inf, np.inf, width, height])
            theirs = arrays[f"{variant}/box_original_{data}"][row]
            found.add("boxes in the picture", ours, theirs)


def _logits(outputs: Sequence[Tensor], places: Tensor) -> Tensor:
    """The confidence at a place in the order stride, anchor, row, column."""
    parts = [o.reshape(len(o), 3, 5, -1)[:, :, 4].reshape(len(o), -1) for o in outputs]
    return torch.cat(parts, dim=1)[torch.arange(len(places)), places]
