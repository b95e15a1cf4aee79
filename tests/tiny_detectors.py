"""Tiny zero-shot detectors with random weights, as folders of model and processor."""

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    OwlViTProcessor,
    PreTrainedModel,
    ProcessorMixin,
    SwinConfig,
)

WORDS = "a the red big blue old cat dog house man in of with hat ##s ##ing " + " ".join(
    f"{sign} ##{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"
)
# The ids that the Grounding DINOs know by number.
SPECIAL = {
    0: "[PAD]",
    100: "[UNK]",
    101: "[CLS]",
    102: "[SEP]",
    103: "[MASK]",
    1012: ".",
    1029: "?",
}
SHORTEST, LONGEST = 96, 160  # sides of the Grounding DINOs' input
SIDE, PATCH = 64, 8  # of the OWLs' input
SEED = 5  # gives each model boxes that score 0.4 or more for whatever phrase
TEXT_LENGTH = 24  # tokens of the Grounding DINOs' text


def write_mm_grounding_dino(folder: Path) -> Path:
    """LLMDet's class. Returns the folder."""
    model = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**_dino()))
    return _write(model, _dino_processor(), folder)


def write_grounding_dino(folder: Path) -> Path:
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(**_dino()))
    return _write(model, _dino_processor(), folder)


def write_owlv2(folder: Path) -> Path:
    model = Owlv2ForObjectDetection(Owlv2Config(**_owl()))
    images = Owlv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    return _write(model, Owlv2Processor(images, _clip_tokenizer()), folder)


def write_owlvit(folder: Path) -> Path:
    model = OwlViTForObjectDetection(OwlViTConfig(**_owl()))
    images = OwlViTImageProcessor(size={"height": SIDE, "width": SIDE})
    return _write(model, OwlViTProcessor(images, _clip_tokenizer()), folder)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "mm-grounding-dino": write_mm_grounding_dino,
    "grounding-dino": write_grounding_dino,
    "owlv2": write_owlv2,
    "owlvit": write_owlvit,
}


def _write(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> Path:
    """Save both. The weights are drawn anew, the same each time: as these models begin, the DINOs'
    boxes are all alike and their scores low, and the OWLs' are 0 or 1."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    draw = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(float(norm) + 0.2 * torch.randn(parameter.shape, generator=draw))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _vocabulary() -> dict[str, int]:
    """A BERT vocabulary: the special tokens at their places, and a few words and letters."""
    signs = [SPECIAL.get(i, f"[unused{i}]") for i in range(1030)]
    return {sign: i for i, sign in enumerate(signs + WORDS.split())}


def _dino_processor() -> GroundingDinoProcessor:
    size = {"shortest_edge": SHORTEST, "longest_edge": LONGEST}
    tokenizer = BertTokenizer(vocab=_vocabulary())
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)


def _dino() -> dict:
    """Settings of either Grounding DINO: a four-stage Swin, a two-layer BERT, 32 wide."""
    return {
        "backbone_config": SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            image_size=LONGEST,
            out_indices=[2, 3, 4],
        ),
        "text_config": BertConfig(
            vocab_size=len(_vocabulary()),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "num_queries": 60,
        "max_text_len": TEXT_LENGTH,
    }


def _clip_tokenizer() -> CLIPTokenizer:
    """Of single letters. The id of <|endoftext|> must be the highest."""
    letters = [chr(i) for i in range(33, 127)]
    signs = ["!</w>", *letters, *(f"{sign}</w>" for sign in letters[1:])]
    signs += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {sign: i for i, sign in enumerate(signs)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!</w>", model_max_length=16)


def _owl() -> dict:
    """Settings of either OWL: two layers each for text and picture, 32 wide."""
    layers = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    last = len(_clip_tokenizer()) - 1
    words = {"vocab_size": last + 1, "bos_token_id": last - 1, "eos_token_id": last}
    return {
        "text_config": {**layers, **words, "max_position_embeddings": 16},
        "vision_config": {**layers, "image_size": SIDE, "patch_size": PATCH},
        "projection_dim": 32,
    }
