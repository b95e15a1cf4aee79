"""Settings of grounding, and what "auto" means on this machine."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from model.hvpnet.variants import RELEASED
from pipeline.corpus import DEMO
from pipeline.engine.settings import changed, check
from pipeline.errors import SettingError
from pipeline.grounding.phrases import resolve_phrases
from pipeline.machine import AUTO

BY_SCORE, BY_PHRASE = "score", "phrase"
ORDERS = (BY_SCORE, BY_PHRASE)
DETECTOR, FAOA, SALIENCE, NONE = "detector", "faoa", "salience", "none"
GROUNDERS = (AUTO, RELEASED, DETECTOR, FAOA, SALIENCE, NONE)
TRAINED_ON = ("flickr", "referit", "unc", "gref", "refcoco")  # data of FAOA's checkpoints
GENERIC = "generic"  # the phrases below
FALLBACKS = (GENERIC, SALIENCE, NONE)  # each is followed by those behind it
GENERIC_PHRASES = ("person", "logo", "sign", "building", "vehicle", "animal")
READ_PHRASES = (DETECTOR, FAOA)
DETECTOR_WEIGHTS = "iSEE-Laboratory/llmdet_tiny"  # the best open one at its cost (LVIS AP 44.7)
VOCABULARY = "bert-base-uncased"
# A detector's is the threshold of transformers' own post-processing. The published crops were taken
# whatever the confidence. Salience has its own floor.
_MIN_SCORES = {DETECTOR: 0.25, FAOA: 0.0, SALIENCE: 0.0}


@dataclass(frozen=True)
class Grounders:
    """Where regions are from: those that came with a post, if `released`, else `finder`'s."""

    finder: str  # detector, faoa, salience or none
    released: bool = False

    @classmethod
    def of(cls, word: str) -> "Grounders":
        """The grounder that a choice of `--grounder` other than "auto" names."""
        return cls(NONE, released=True) if word == RELEASED else cls(word)

    @property
    def name(self) -> str:
        """As keys and reports write it: "released, detector", or one name."""
        if not self.released:
            return self.finder
        return RELEASED if self.finder == NONE else f"{RELEASED}, {self.finder}"

    @classmethod
    def named(cls, name: str) -> "Grounders":
        """The inverse of `name`."""
        first, _, finder = name.partition(", ")
        return cls(finder or NONE, released=True) if first == RELEASED else cls(name)


@dataclass(frozen=True)
class GroundConfig:
    """All that decides which regions a post gets, beside its sentence and its picture."""

    grounder: Grounders = Grounders(SALIENCE)
    phrases: str = AUTO
    max_crops: int = 3  # m of the paper
    order: str = BY_SCORE  # of the regions, or by their phrases' order
    min_score: float | None = None  # None: the grounder's own, below
    overlap: float = 0.5  # intersection over union above which the later region goes
    boxes_per_phrase: int = 1
    fallback: str = GENERIC  # for posts without a phrase; what follows is tried if it finds nothing
    weights: str | None = None  # hub name or folder of a detector; checkpoint of faoa
    vocabulary: str | None = None  # of faoa
    trained_on: str | None = None  # faoa's data, which decides its anchors
    precision: str = "float32"  # of a learned grounder, or "bfloat16"
    longest_side: int | None = None  # of the picture as a detector sees it; None: its own

    def __post_init__(self) -> None:
        check("--max-crops", "0 or more", self.max_crops, self.max_crops >= 0)
        check("--boxes-per-phrase", "1 or more", self.boxes_per_phrase, self.boxes_per_phrase > 0)
        check("--overlap", "0 to 1", self.overlap, 0 <= self.overlap <= 1)
        least = 0.0 if self.min_score is None else self.min_score
        check("--min-score", "0 to 1", least, 0 <= least <= 1)
        longest = 1 if self.longest_side is None else self.longest_side
        check("--longest-side", "1 or more", longest, longest > 0)

    @property
    def finder(self) -> str:
        """The grounder that opens pictures."""
        return self.grounder.finder

    def described(self) -> dict[str, Any]:
        """The settings in JSON's types, for keys and reports."""
        return asdict(self) | {"grounder": self.grounder.name}

    @classmethod
    def from_described(cls, settings: Mapping[str, Any]) -> "GroundConfig":
        """The inverse of `described`: from a key's settings, of which others are ignored.

        `weights` and `vocabulary` are as the key names them: "from disk" where they were files.
        """
        names = {field.name for field in fields(cls)} & settings.keys()
        known = {name: settings[name] for name in names}
        if "grounder" in known:
            known["grounder"] = Grounders.named(known["grounder"])
        return cls(**known)


def ground_config(values: Mapping[str, Any], dataset: str, released: bool = False) -> GroundConfig:
    """Decide how posts are grounded: the values given, "auto" resolved, idle settings at default.

    values: by the names of GroundConfig; `grounder` is a word of GROUNDERS. released: every post
    came with a grounding. Raises SettingError for what --grounder faoa lacks.
    """
    word = values.get("grounder") or AUTO
    weights = values.get("weights") or DETECTOR_WEIGHTS
    learned = values.get("weights") is not None
    grounders = _auto(dataset, released, weights, learned) if word == AUTO else Grounders.of(word)
    config = changed(GroundConfig(), {**values, "grounder": grounders})
    finder, plain = grounders.finder, GroundConfig()
    if finder == FAOA:
        config = replace(_of_faoa(config), longest_side=None)
    else:
        config = replace(config, vocabulary=None, trained_on=None)
    if finder == DETECTOR:
        config = replace(config, weights=weights)
    if finder not in READ_PHRASES:
        config = replace(config, weights=None, precision=plain.precision, longest_side=None)
        config = replace(config, fallback=NONE, order=plain.order, boxes_per_phrase=1)
    if finder not in (*READ_PHRASES, SALIENCE):
        config = replace(config, overlap=plain.overlap, min_score=None)
    least = _MIN_SCORES.get(finder, 0.0) if config.min_score is None else config.min_score
    return replace(config, phrases=resolve_phrases(config.phrases), min_score=least)


def _auto(dataset: str, released: bool, weights: str, learned: bool) -> Grounders:
    """Posts with a grounding of their own keep it; the others get what this machine can do.

    That is the detector's if its weights are here or were asked for (`learned`), else salience. The
    demo has salience everywhere.
    """
    from features.grounding.hub import is_cached

    if released:
        return Grounders(NONE, released=True)
    if dataset == DEMO:
        return Grounders(SALIENCE)
    return Grounders(DETECTOR if learned or is_cached(weights) else SALIENCE, released=True)


def _of_faoa(config: GroundConfig) -> GroundConfig:
    """FAOA's checkpoint, which nothing stands in for, and the data that decides its anchors."""
    from features.grounding.anchors import ANCHORS, trained_on

    checkpoint = Path(config.weights or "")
    if not checkpoint.is_file():
        found = "none" if config.weights is None else f"no file {checkpoint}"
        raise SettingError(
            f"--grounder faoa: expected --weights, a published checkpoint, found {found}"
        )
    data = config.trained_on or trained_on(checkpoint)
    if data not in ANCHORS:
        raise SettingError(
            f"{checkpoint}: expected to know the data that it was trained on, which decides its "
            f"anchors; give --trained-on, one of {', '.join(ANCHORS)}"
        )
    return replace(config, trained_on=data, vocabulary=config.vocabulary or VOCABULARY)
