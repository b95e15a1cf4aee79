"""Settings of a training run."""

from dataclasses import dataclass
from math import inf

from model.hvpnet.variants import AT_MARKERS, HVPNET, PAPER
from pipeline.engine.settings import check

SCRATCH = "scratch"  # a small encoder without pretrained weights, trained on the posts alone
MOST_UNKNOWN = 0.1  # largest share of the training posts' words unknown to the tokenizer
LEAST_TEXT = 8  # smallest --knowledge-tokens: separators and a few word pieces
BACKBONE = "backbone.safetensors"  # weights written by ImportReleased and fine-tuning
ADAMW, UNCORRECTED, BERT_ADAM = "adamw", "adamw-uncorrected", "bert-adam"
ADAM, SGD = "adam", "sgd"
OPTIMIZERS = (ADAMW, UNCORRECTED, BERT_ADAM, ADAM, SGD)
LINEAR, NONE, INVERSE, STEP = "linear", "none", "inverse", "step"
SCHEDULES = (LINEAR, NONE, INVERSE, STEP)


@dataclass(frozen=True)
class TrainConfig:
    """The settings that decide a training run's result, given its posts and pyramids.

    The defaults are the paper's for relations (Appendix B.1). Learning rates are peaks: a rate
    rises linearly over `warmup`, then follows `rate_schedule`. Raises SettingError for a value
    out of range.
    """

    system: str = HVPNET  # or another of model/systems.py
    form: str = ""  # of those that the system declares, if any
    variant: str = HVPNET  # or flat, 1t3, only-objects, text-only
    style: str = PAPER  # of the model: paper or released
    # Hub name, folder, or "scratch"; None with start_from, whose encoder is taken.
    encoder: str | None = "bert-base-uncased"  # also None for systems on words
    word_vectors: str | None = None  # file of vectors for systems on words; None: random ones
    start_from: str | None = None  # folder of a run or a model
    seed: int = 1234
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_learning_rate: float | None = None  # of classifier and CRF; None: learning_rate
    weight_decay: float = 0.01
    decay_all: bool = False  # also decay biases and normalisation
    warmup: float = 0.1  # a share of all steps; 1 and more: a number of steps
    rate_schedule: str = LINEAR  # or another of SCHEDULES: how rates fall, see optimizers.py
    optimizer: str = ADAMW  # or another of OPTIMIZERS
    momentum: float = 0.0  # of sgd; the other optimizers have none
    evaluate_from: int = 8  # first epoch scored on val; at most the last epoch
    max_tokens: int = 80  # word pieces per post, including special pieces and markers
    dropout: float = 0.1  # before the head
    max_grad_norm: float = 0.0  # norm to which gradients are clipped; 0: no clipping
    # Of matrix products; or "bfloat16". Weights are float32. Stages choose it as in ExtractConfig.
    precision: str = "float32"
    finetune_backbone: bool = False
    backbone_learning_rate: float = 1e-5  # used with finetune_backbone only
    knowledge: bool = False  # read the pictures' texts, as a second segment
    knowledge_tokens: int = 64  # word pieces of a picture text, which max_tokens does not count
    shuffle_knowledge: bool = False  # give each post the text of another's picture: a control
    relation_head: str = AT_MARKERS  # or cls; for TrainRE only
    train_share: float = 1.0  # of the training posts, drawn at random
    train_seed: int | None = None  # of this draw; None: seed
    with_replacement: bool = False  # a post may be drawn several times

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_tokens"):
            value = getattr(self, name)
            check(_option(name), "1 or more", value, value > 0)
        check("--evaluate-from", "0 or more", self.evaluate_from, self.evaluate_from >= 0)
        for name in _RATES:
            value = getattr(self, name)
            # This refuses NaN and infinity too.
            check(_option(name), "a number, 0 or more", value or 0, 0 <= (value or 0) < inf)
        good = 0 <= self.warmup < 1 or (self.warmup < inf and self.warmup == int(self.warmup))
        check("--warmup", "a share below 1, or a whole number of steps", self.warmup, good)
        for name in ("momentum", "dropout"):
            value = getattr(self, name)
            check(_option(name), "a share from 0, below 1", value, 0 <= value < 1)
        tokens = self.knowledge_tokens
        check("--knowledge-tokens", f"{LEAST_TEXT} or more", tokens, tokens >= LEAST_TEXT)
        share, seed = self.train_share, self.train_seed or 0
        check("--train-share", "a share above 0, up to 1", share, 0 < share <= 1)
        check("--train-seed", "0 or more", seed, seed >= 0)

    @property
    def encoder_name(self) -> str:
        """The source of the encoder: its name, or the folder of `start_from`."""
        name = self.start_from or self.encoder
        assert name is not None, "neither an encoder nor a run to start from"
        return name

    @property
    def draws(self) -> bool:
        """True if training posts are drawn at random; else each is trained on once per epoch."""
        return self.train_share < 1 or self.with_replacement


_RATES = (
    *("learning_rate", "head_learning_rate", "backbone_learning_rate"),
    *("weight_decay", "max_grad_norm"),
)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
