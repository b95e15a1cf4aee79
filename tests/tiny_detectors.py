"""Tiny zero-shot detectors with random weights, as folders of model and processor."""

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTokenizer,
    DetrImageProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    OmDetTurboConfig,
    OmDetTurboForObjectDetection,
    OmDetTurboProcessor,
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
SIDE, PATCH = 64, 8  # of the OWLs' input; OmDet's has the same side
SEED = 5  # gives each model boxes that score 0.4 or more for whatever phrase
TEXT_LENGTH = 24  # tokens of the Grounding DINOs' text
QUERY_LENGTH, CLASS_LENGTH = 16, 77  # of an OWL's query; of a text of OmDet, as its processor cuts


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


def write_omdet_turbo(folder: Path) -> Path:
    model = OmDetTurboForObjectDetection(OmDetTurboConfig(**_omdet()))
    images = DetrImageProcessor(size={"height": SIDE, "width": SIDE})
    return _write(model, OmDetTurboProcessor(images, _clip_tokenizer()), folder)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "mm-grounding-dino": write_mm_grounding_dino,
    "grounding-dino": write_grounding_dino,
    "owlv2": write_owlv2,
    "owlvit": write_owlvit,
    "omdet-turbo": write_omdet_turbo,
}


def _write(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> Path:
    """Save both. The weights are drawn anew, the same each time: as these models begin, the
    boxes of the DINOs and OmDet are all alike and their scores low, and the OWLs' are 0 or 1."""
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
    return {sign: i for i, sign in enumerate(dict.fromkeys(signs + WORDS.split()))}


def _dino_processor() -> GroundingDinoProcessor:
    size = {"shortest_edge": SHORTEST, "longest_edge": LONGEST}
    tokenizer = BertTokenizer(vocab=_vocabulary())
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)


def _swin(side: int) -> SwinConfig:
    return SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        image_size=side,
        out_indices=[2, 3, 4],
    )


def _dino() -> dict:
    """Settings of either Grounding DINO: a four-stage Swin, a two-layer BERT, 32 wide."""
    return {
        "backbone_config": _swin(LONGEST),
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
    return CLIPTokenizer(
        vocab=vocabulary, merges=[], pad_token="!</w>", model_max_length=QUERY_LENGTH
    )


# Two layers, 32 wide.
_LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def _clip_text(length: int) -> dict:
    """Settings of CLIP's text model, which reads so many tokens."""
    last = len(_clip_tokenizer()) - 1
    words = {"vocab_size": last + 1, "bos_token_id": last - 1, "eos_token_id": last}
    return {**_LAYERS, **words, "max_position_embeddings": length}


def _owl() -> dict:
    """Settings of either OWL: two layers each for text and picture."""
    return {
        "text_config": _clip_text(QUERY_LENGTH),
        "vision_config": {**_LAYERS, "image_size": SIDE, "patch_size": PATCH},
        "projection_dim": 32,
    }


def _omdet() -> dict:
    """Settings of OmDet: a four-stage Swin, the rest 16 wide, less than the text as it must be."""
    return {
        "backbone_config": _swin(SIDE),
        "apply_layernorm_after_vision_backbone": False,  # meant for timm's order of axes
        "image_size": SIDE,
        "text_config": CLIPTextConfig(**_clip_text(CLASS_LENGTH)),
        "text_projection_in_dim": 32,
        "text_projection_out_dim": 32,
        "class_embed_dim": 32,
        "task_encoder_hidden_dim": 32,
        "encoder_in_channels": [16, 32, 64],
        "encoder_hidden_dim": 16,
        "encoder_dim_feedforward": 32,
        "encoder_attention_heads": 4,
        "vision_features_channels": [16, 16, 16],
        "decoder_hidden_dim": 16,
        "decoder_dim_feedforward": 32,
        "decoder_num_heads": 4,
        "decoder_num_layers": 2,
        "num_queries": 60,
    }
