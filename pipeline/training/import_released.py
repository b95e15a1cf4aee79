"""A published checkpoint -> a model folder of this project, and its backbone's weights, if any."""

import logging
from pathlib import Path

import transformers

from features.backbone import load_backbone
from features.weights import read_state, save_state
from model.hvpnet.variants import RELEASED
from model.released import import_released, is_tagger
from model.released_umt import GRID, import_umt, is_umt
from pipeline.corpus.posts import load_labels
from pipeline.engine.digests import in_a_word, of_file
from pipeline.engine.files import write_json
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.rows import made_by
from pipeline.training.config import BACKBONE
from pipeline.training.encode import load_tokenizer, save_tokenizer
from pipeline.training.entities import entity_labels
from pipeline.training.relations import add_markers

ARCHITECTURE = "resnet50"  # the backbone of HVPNeT's published checkpoints
# Of UMT's, which do not hold it: torchvision's, with its published weights.
UMT_PICTURES = ExtractConfig(backbone="resnet152", weights="IMAGENET1K_V1", grid=GRID)
UMT_LONGEST = 128  # word pieces per post, on both data sets
TYPES = ("MISC", "PER", "ORG", "LOC")  # entity types, in the order of the published labels
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
    if tagger:
        tags = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]
        labels = entity_labels(tags, RELEASED)
    else:
        labels = load_labels(posts_folder, "re")
    imported = import_umt(state, labels) if is_umt(state) else import_released(state, labels)
    model = imported.model
    if is_umt(state):
        longest = UMT_LONGEST
        model.config.pyramids = made_by(UMT_PICTURES, UMT_PICTURES.weights)
    tokenizer = load_tokenizer(
        tokenizer_name, "give the encoder's folder or its hub name with --tokenizer"
    )
    if not tagger:
        add_markers(tokenizer)
    pieces = model.encoder.config.vocab_size
    if len(tokenizer) != pieces:
        raise DataError(
            f"{checkpoint}: expected the tokenizer of {pieces:,} pieces that it was trained with, "
            f"found {len(tokenizer):,} in {tokenizer_name}; give it with --tokenizer"
        )
    if imported.backbone:
        file = folder / BACKBONE
        save_state(imported.backbone, file)
        load_backbone(ARCHITECTURE, str(file), seed=0)  # fails unless every key fits
        model.config.pyramids = made_by(ExtractConfig(ARCHITECTURE), in_a_word(of_file(file)))
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
