"""The folder of a saved model: load its parts and check that they belong together."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from features.errors import need_readable
from model.config import ExtractorConfig
from model.contract import System
from model.encoder import load_saved
from model.hvpnet.variants import TEXT_ONLY
from model.systems import OWN, check_own, declared, digest_of, file_of, model_class, names
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.training.batches import Collator, Pictures, Tensors
from pipeline.training.config import BACKBONE
from pipeline.training.encode import Encoded, load_tokenizer
from pipeline.training.head_of import HEADS
from pipeline.training.heads import Head
from pipeline.training.inputs import collator, encode, with_texts
from pipeline.training.knowledge import Texts
from pipeline.training.possible import NEARLY_THE_SAME, task_of
from pipeline.training.relations import MARKERS
from pipeline.training.vocabulary import check_vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedModel:
    """A saved model without its weights, which `load` reads.

    labels: of the head, in the order of their numbers.
    """

    folder: Path
    head: Head
    config: ExtractorConfig
    tokenizer: PreTrainedTokenizerBase
    labels: list[str]

    @classmethod
    def open(cls, folder: Path) -> "SavedModel":
        """Open a folder made by training or ImportReleased.

        Logs a warning if the system's file is not that of the training. Raises DataError,
        ModelError, AccessError.
        """
        need_readable(folder)
        check_own()
        head = HEADS[task_of(folder)]
        config = ExtractorConfig.from_pretrained(folder)
        if config.system not in names():
            raise DataError(
                f"{folder}: expected a model of one of the systems {', '.join(names())}, found one "
                f"of {config.system!r}; set {OWN} to the folder of its file"
            )
        if config.system_digest not in ("", digest_of(config.system)):
            log.warning(
                "%s: expected the file of system %s as at training (sha256 %s…), found another: "
                "%s; predictions may differ",
                folder,
                config.system,
                config.system_digest[:16],
                file_of(config.system),
            )
        tokenizer = load_tokenizer(str(folder), "make the model again")
        _check_tokenizer(tokenizer, config, folder)
        labels = [config.id2label[number] for number in range(config.num_labels)]
        return cls(folder, head, config, tokenizer, labels)

    @property
    def longest(self) -> int:
        """Word pieces of the longest post that is not cut, including special pieces."""
        return int(self.tokenizer.model_max_length)

    @property
    def is_text_only(self) -> bool:
        """True if the model uses no pictures."""
        return bool(self.config.variant == TEXT_ONLY)

    def encode(self, posts: Mapping[int, Post]) -> list[Encoded]:
        """Encode numbered posts for the model, without picture texts; see `Head.encode`."""
        return encode(self.head, posts, self.tokenizer, self.labels, self.longest, self.config)

    def collator(self, pictures: Tensors | None) -> Collator:
        """Return what makes batches of encoded posts. pictures: None for text-only."""
        return collator(self.head, self.tokenizer, self.config, pictures)

    @property
    def reads_texts(self) -> bool:
        """True if the model reads the pictures' texts."""
        return bool(self.config.knowledge_tokens)

    def with_texts(self, encoded: Sequence[Encoded], texts: Texts | None) -> list[Encoded]:
        """Put the pictures' texts behind encoded posts, if the model reads any.

        texts: gives the texts of posts by number; None: no post has one.
        """
        if texts is None or not self.reads_texts:
            return [*encoded]
        return with_texts(encoded, texts, self.tokenizer, self.config)

    def load(self) -> System:
        """Load the model with its weights. Raises EncoderError."""
        return load_saved(model_class(self.head.name, self.config.system), self.folder)


def _check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, config: ExtractorConfig, folder: Path
) -> None:
    """Raise DataError unless the tokenizer fits the model's encoder and markers."""
    if declared(config.system).reads_words:
        if len(tokenizer) != config.words:
            raise DataError(
                f"{folder}: expected a tokenizer of {config.words:,} words, one per vector, found "
                f"one of {len(tokenizer):,}; make the model again"
            )
        return
    rows = config.encoder["vocab_size"]
    check_vocabulary(tokenizer, config.encoder_config(), rows, str(folder))
    markers = tuple(config.marker_ids)
    both = declared(config.system).markers, MARKERS  # the system's own, or four new pieces
    known = [tuple(tokenizer.convert_tokens_to_ids([*pieces])) for pieces in both if pieces]
    if markers and markers not in known:
        raise DataError(
            f"{folder}: expected a tokenizer whose markers have the ids "
            f"{', '.join(map(str, markers))}, found another; make the model again"
        )


def check_pyramids(config: ExtractorConfig, pictures: Pictures, model_folder: Path) -> None:
    """Raise DataError if pyramids are not made like those that the model was trained on.

    Their shapes may be equal, so nothing else would detect it. If only `resize` or `precision`
    differ, the rows are nearly the same: this logs a warning.
    """
    # A model older than a setting was trained with the setting's default.
    expected = asdict(ExtractConfig()) | config.pyramids if config.pyramids else {}
    made_by = pictures.made_by
    differ = sorted(name for name in made_by if expected.get(name) != made_by[name])
    if not differ:
        return
    message = (
        f"{model_folder}: expected pyramids with "
        + ", ".join(f"{name} {expected.get(name)}" for name in differ)
        + "; found "
        + ", ".join(f"{name} {made_by[name]}" for name in differ)
    )
    if set(differ) <= NEARLY_THE_SAME:
        log.warning("%s", message)
        return
    options = ", ".join(f"--ExtractPyramid-{name}" for name in differ)
    tuned = model_folder / BACKBONE
    if "weights" in differ and tuned.is_file():
        options = options.replace("-weights", f"-weights {tuned}")
    raise DataError(f"{message}; extract them with {options}")


def warn_of_texts(config: ExtractorConfig, made_by: Mapping[str, Any], model_folder: Path) -> None:
    """Log a warning if texts are not made like those that a model was trained on.

    Files of texts are other files for another data set, so their names are not compared.
    """
    both = (config.texts, made_by)
    then, now = ({n: value for n, value in made.items() if n != "files"} for made in both)
    differ = sorted(name for name in then | now if then.get(name) != now.get(name))
    if differ:
        log.warning(
            "%s: expected picture texts made as at training (%s), found %s; scores may drop",
            model_folder,
            ", ".join(f"{name} {then.get(name)}" for name in differ),
            ", ".join(f"{name} {now.get(name)}" for name in differ),
        )
