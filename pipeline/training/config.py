"""Settings of a training run."""

from dataclasses import dataclass
from math import inf

from model.hvpnet.variants import AT_MARKERS, HVPNET, PAPER
from pipeline.engine.settings import check

SCRATCH = "scratch"  # the encoder that needs no weights: small, trained on the posts alone
MOST_UNKNOWN = 0.1  # share of the training posts' words that a tokenizer may not know
BACKBONE = "backbone.safetensors"  # where ImportReleased and fine-tuning write weights


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run's result, beside its posts and pyramids.

    Defaults are the paper's for relations (Appendix B.1). Rates are AdamW's peak; the schedule is
    linear, up over the share `warmup` of all steps, then down to 0. Raises SettingError for a
    value out of range.
    """

    variant: str = HVPNET  # flat, 1t3, only-objects, text-only
    style: str = PAPER  # of the model, or released
    encoder: str = "bert-base-uncased"  # hub name, folder, or "scratch"
    seed: int = 1234
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_learning_rate: float | None = None  # classifier and CRF; None: as the rest
    weight_decay: float = 0.01
    decay_all: bool = False  # also biases and normalisation
    warmup: float = 0.1
    evaluate_from: int = 8  # first epoch that is scored on validation; the last if beyond it
    max_tokens: int = 80  # word pieces, special ones and markers included
    dropout: float = 0.1  # before the head
    max_grad_norm: float = 0.0  # gradients are clipped to it; 0: not at all
    # Of the matrix products, or "bfloat16"; weights are float32. Stages: as in ExtractConfig.
    precision: str = "float32"
    finetune_backbone: bool = False
    backbone_learning_rate: float = 1e-5  # used with finetune_backbone
    relation_head: str = AT_MARKERS  # or cls; TrainRE's alone

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_tokens"):
            value = getattr(self, name)
            check(_option(name), "1 or more", value, value > 0)
        check("--evaluate-from", "0 or more", self.evaluate_from, self.evaluate_from >= 0)
        for name in _RATES:
            value = getattr(self, name)
            # Neither NaN nor infinity passes.
            check(_option(name), "a number, 0 or more", value or 0, 0 <= (value or 0) < inf)
        check("--warmup", "a share from 0 to 1", self.warmup, 0 <= self.warmup <= 1)
        check("--dropout", "a share from 0, below 1", self.dropout, 0 <= self.dropout < 1)


_RATES = (
    *("learning_rate", "head_learning_rate", "backbone_learning_rate"),
    *("weight_decay", "max_grad_norm"),
)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
