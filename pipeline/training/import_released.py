"""A published checkpoint -> a model folder of this project, and its backbone's weights, if any."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import transformers
from torch import Tensor

from features.backbone import load_backbone
from features.weights import read_state, save_state
from model import released_mega, released_umgf, released_umt
from model.hvpnet.variants import HVPNET, RELEASED
from model.released import Imported, import_released, is_tagger
from model.released_mega import import_mega, is_mega
from model.released_umgf import import_umgf, is_umgf
from model.released_umt import import_umt, is_umt
from model.systems import declared
from pipeline.corpus.labels import OUTSIDE
from pipeline.corpus.posts import load_labels
from pipeline.engine.digests import in_a_word, of_file
from pipeline.engine.files import write_json
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.rows import made_by
from pipeline.training.config import BACKBONE
from pipeline.training.encode import load_tokenizer, save_tokenizer
from pipeline.training.entities import END, LATER, PAD, START, entity_labels
from pipeline.training.relations import add_markers

# System -> the pictures of its published checkpoints. UMT's do not hold their backbone, which is
# torchvision's with its published weights.
PICTURES = {
    HVPNET: ExtractConfig(backbone="resnet50"),
    released_umt.SYSTEM: ExtractConfig("resnet152", "IMAGENET1K_V1", grid=released_umt.GRID),
    released_umgf.SYSTEM: ExtractConfig("resnet152", grid=released_umgf.GRID),
}
# Of MEGA's, whose vectors of 4096 numbers no backbone here gives: all rows are refused.
MEGA_PICTURES = {"backbone": "of a scene-graph detector"}
LONGEST = 128  # word pieces per post of UMT, UMGF and MEGA
TYPES = ("MISC", "PER", "ORG", "LOC")  # entity types, in the order of the published labels
UMGF_TYPES = ("PER", "LOC", "ORG", "MISC")  # the last is named OTHER there
log = logging.getLogger(__name__)


def import_into(
    folder: Path, checkpoint: Path, tokenizer_name: str, posts_folder: Path, longest: int
) -> None:
    """Run the import stage: write `model/`, `backbone.safetensors` and `report.json`.

    tokenizer_name: hub name or folder of the encoder that the checkpoint was trained from.
    posts_folder: output of ReadPosts, for the names of the relations.
    longest: word pieces per post, of HVPNeT.

    Raises ReleasedError, WeightsError, DataError.
    """
    transformers.logging.disable_progress_bar()
    state = read_state(checkpoint)
    tagger = is_tagger(state)
    imported, labels = _imported(state, posts_folder)
    model = imported.model
    system = model.config.system
    if system != HVPNET:
        longest = LONGEST
    tokenizer = load_tokenizer(
        tokenizer_name, "give the encoder's folder or its hub name with --tokenizer"
    )
    if not tagger:
        add_markers(tokenizer, declared(system).markers)
    pieces = model.encoder.config.vocab_size
    if len(tokenizer) != pieces:
        raise DataError(
            f"{checkpoint}: expected the tokenizer of {pieces:,} pieces that it was trained with, "
            f"found {len(tokenizer):,} in {tokenizer_name}; give it with --tokenizer"
        )
    pictures = PICTURES.get(system, PICTURES[HVPNET])
    if is_umgf(state) and not imported.backbone:
        raise DataError(
            f"{checkpoint}: expected the weights of its {pictures.backbone}, found no key that "
            f"begins with {released_umgf.TRUNK}; fetch the file again"
        )
    if imported.backbone:
        file = folder / BACKBONE
        save_state(imported.backbone, file)
        load_backbone(pictures.backbone, str(file), seed=0)  # fails unless every key fits
        model.config.pyramids = made_by(pictures, in_a_word(of_file(file)))
    elif system == released_mega.SYSTEM:
        model.config.pyramids = MEGA_PICTURES
    elif is_umt(state):
        model.config.pyramids = made_by(pictures, pictures.weights)
    tokenizer.model_max_length = longest
    model.save_pretrained(folder / "model")
    save_tokenizer(tokenizer, folder / "model")
    report = {
        "checkpoint": checkpoint.name,
        "task": "ner" if tagger else "re",
        "keys": len(state),
        "keys_taken": len(state) - len(imported.left_out),
        "left_out": imported.left_out,
        "labels": labels,
    }
    write_json(folder / "report.json", report)
    log.info("%(keys_taken)d of %(keys)d keys imported; left out:", report)
    for key, why in imported.left_out.items():
        log.info("  %s: %s", key, why)


def _imported(state: Mapping[str, Tensor], posts_folder: Path) -> tuple[Imported, Sequence[str]]:
    """Return the converted checkpoint, and the labels of its head by number."""
    if is_umgf(state):
        tags = [f"{prefix}-{name}" for name in UMGF_TYPES for prefix in "BI"]
        labels = [PAD, *tags, OUTSIDE, LATER, START, END]
        return import_umgf(state, labels), labels
    if not is_tagger(state):
        labels = load_labels(posts_folder, "re")
        return (import_mega if is_mega(state) else import_released)(state, labels), labels
    tags = [OUTSIDE, *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]
    labels = entity_labels(tags, RELEASED)
    return (import_umt if is_umt(state) else import_released)(state, labels), labels
