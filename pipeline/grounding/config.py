"""Settings of grounding, and their values where "auto" is given."""

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
GENERIC = "generic"  # ask for GENERIC_PHRASES
FALLBACKS = (GENERIC, SALIENCE, NONE)  # if one gives no region, the next is tried
GENERIC_PHRASES = ("person", "logo", "sign", "building", "vehicle", "animal")
READ_PHRASES = (DETECTOR, FAOA)
DETECTOR_WEIGHTS = "iSEE-Laboratory/llmdet_tiny"  # the best open one at its cost (LVIS AP 44.7)
VOCABULARY = "bert-base-uncased"
# The detector's value is the default threshold of transformers' post-processing. FAOA's is 0: the
# published crops were taken at any confidence. Salience applies a floor of its own.
_MIN_SCORES = {DETECTOR: 0.25, FAOA: 0.0, SALIENCE: 0.0}


@dataclass(frozen=True)
class Grounders:
    """The sources of regions: the post's own if `released` and it has some, else `finder`."""

    finder: str  # detector, faoa, salience or none
    released: bool = False

    @classmethod
    def of(cls, word: str) -> "Grounders":
        """Return the grounders for a value of `--grounder` other than "auto"."""
        return cls(NONE, released=True) if word == RELEASED else cls(word)

    @property
    def name(self) -> str:
        """The name in keys and reports: "released, detector", or a single name."""
        if not self.released:
            return self.finder
        return RELEASED if self.finder == NONE else f"{RELEASED}, {self.finder}"

    @classmethod
    def named(cls, name: str) -> "Grounders":
        """Return the grounders that have this `name`."""
        first, _, finder = name.partition(", ")
        return cls(finder or NONE, released=True) if first == RELEASED else cls(name)


@dataclass(frozen=True)
class GroundConfig:
    """The settings that decide a post's regions, given its sentence and picture."""

    grounder: Grounders = Grounders(SALIENCE)
    phrases: str = AUTO
    max_crops: int = 3  # m of the paper
    order: str = BY_SCORE  # order of the regions: by score, or as their phrases
    min_score: float | None = None  # None: the grounder's default, _MIN_SCORES
    overlap: float = 0.5  # IoU above which the later of two regions is dropped
    boxes_per_phrase: int = 1
    fallback: str = GENERIC  # for posts without a phrase; see FALLBACKS
    weights: str | None = None  # hub name or folder of a detector; checkpoint of faoa
    vocabulary: str | None = None  # of faoa
    trained_on: str | None = None  # faoa's data, which decides its anchors
    precision: str = "float32"  # of a learned grounder: float32 or bfloat16
    longest_side: int | None = None  # of a detector's input, pixels; None: the model's own

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
        """The grounder that looks for regions in pictures."""
        return self.grounder.finder

    def described(self) -> dict[str, Any]:
        """Return the settings in JSON types, for keys and reports."""
        return asdict(self) | {"grounder": self.grounder.name}

    @classmethod
    def from_described(cls, settings: Mapping[str, Any]) -> "GroundConfig":
        """Rebuild the configuration from a key's settings; unknown settings are ignored.

        `weights` and `vocabulary` are as in the key: "from disk" if they were files.
        """
        names = {field.name for field in fields(cls)} & settings.keys()
        known = {name: settings[name] for name in names}
        if "grounder" in known:
            known["grounder"] = Grounders.named(known["grounder"])
        return cls(**known)


def ground_config(values: Mapping[str, Any], dataset: str, released: bool = False) -> GroundConfig:
    """Return the configuration for the values given.

    "auto" is resolved; settings that have no effect are set to their defaults, so that they don't
    change the key.

    values: by the names of GroundConfig; `grounder` is one of GROUNDERS.
    dataset: its name; the demo is always grounded by salience.
    released: every post came with a grounding.

    Raises SettingError if --grounder faoa lacks its checkpoint or the name of its training data.
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
    """Resolve "auto": released groundings first; for the other posts, what this machine has.

    That is the detector if its weights are on this machine or were given (`learned`), else
    salience. The demo always uses salience.
    """
    from features.grounding.hub import is_cached

    if released:
        return Grounders(NONE, released=True)
    if dataset == DEMO:
        return Grounders(SALIENCE)
    return Grounders(DETECTOR if learned or is_cached(weights) else SALIENCE, released=True)


def _of_faoa(config: GroundConfig) -> GroundConfig:
    """Fill in FAOA's settings. A checkpoint is required; its training data decides the anchors."""
    from features.grounding.anchors import ANCHORS, trained_on

    checkpoint = Path(config.weights or "")
    if not checkpoint.is_file():
        given = "none" if config.weights is None else f"no file {checkpoint}"
        raise SettingError(
            f"--grounder faoa: expected --weights, a published checkpoint, found {given}"
        )
    data = config.trained_on or trained_on(checkpoint)
    if data not in ANCHORS:
        raise SettingError(
            f"{checkpoint}: expected the training data, which decides the anchors, in the file's "
            f"name, found none or several; give --trained-on, one of {', '.join(ANCHORS)}"
        )
    return replace(config, trained_on=data, vocabulary=config.vocabulary or VOCABULARY)
