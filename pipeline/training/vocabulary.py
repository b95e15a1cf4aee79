"""Check that a tokenizer and an encoder belong together, before either is used."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from features.grounding.hub import TOKENIZER
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.training.encode import unknown_words

PADDING = 1024  # rows of embeddings that may be padding, or a tenth of all rows if that is more
# Encoders that count positions from the padding piece's id + 1, and take so many pieces fewer.
SHIFTED = ("roberta", "xlm-roberta")
UNMERGED = 0.1  # share of a BPE's longer pieces that no merge may make: markers, unused ones
_PARTS = ("end_of_word_suffix", "continuing_subword_prefix")
log = logging.getLogger(__name__)


def check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, rows: int, name: str
) -> None:
    """Raise DataError unless the tokenizer fits the encoder; log a doubtful padding piece.

    config: the encoder's. rows: of its embeddings. name: of the encoder, for messages. Called
    before markers are added.
    """
    mend = "put the tokenizer's files that the encoder was published with beside its weights"
    pieces = tokenizer.get_vocab()
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    if not set(pieces.values()) - special:
        raise DataError(
            f"encoder {name!r}: expected a tokenizer that knows words, found one of "
            f"{len(pieces)} special pieces alone; {mend}"
        )
    _check_size(max(pieces.values()) + 1, rows, name, mend)
    _check_merges(tokenizer, name, mend)
    if missing := _made_up(tokenizer, name):
        raise DataError(f"{name}/vocab.txt: expected {', '.join(missing)} in it; {mend}")
    _check_padding(tokenizer, config, name, mend)
    if getattr(tokenizer, "normalization", False) and getattr(tokenizer, "demojizer", 1) is None:
        log.warning(
            "encoder %r: its tokenizer spells out emojis with the package emoji, which is not "
            "installed: they may become unknown pieces; pip install emoji",
            name,
        )


def _check_size(size: int, rows: int, name: str, mend: str) -> None:
    """size: the highest id + 1."""
    if size > rows or rows - size > max(PADDING, rows // 10):
        raise DataError(
            f"encoder {name!r}: expected a tokenizer of {rows:,} pieces, as its embeddings have "
            f"rows, found one of {size:,}; {mend}"
        )
    if size < rows:
        log.info("encoder %r: %d rows of its embeddings have no word piece", name, rows - size)


def _check_merges(tokenizer: PreTrainedTokenizerBase, name: str, mend: str) -> None:
    """Raise DataError where merges are missing: words would be cut into letters.

    A BPE's piece of several characters is made by a merge, or by none.
    """
    if not tokenizer.is_fast:
        return
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] != "BPE" or model.get("ignore_merges"):
        return
    suffix, prefix = (model.get(part) or "" for part in _PARTS)
    made = {left + right.removeprefix(prefix) for left, right in model["merges"]}
    long = {piece for piece in model["vocab"] if len(piece.removesuffix(suffix)) > 1}
    long -= {*tokenizer.all_special_tokens, *map(str, tokenizer.added_tokens_decoder.values())}
    lost = sorted(long - made)
    if len(lost) > len(long) * UNMERGED:
        raise DataError(
            f"encoder {name!r}: {len(lost):,} of its {len(long):,} longer word pieces, such as "
            f"{lost[0]!r}, are made by no merge: its merges are cut short; {mend}"
        )


def _made_up(tokenizer: PreTrainedTokenizerBase, name: str) -> list[str]:
    """The special pieces missing from a BERT's vocab.txt: transformers adds them, untrained."""
    file = Path(name) / "vocab.txt"
    if type(tokenizer).__name__ != "BertTokenizer" or (Path(name) / TOKENIZER).is_file():
        return []
    if not file.is_file():  # of the hub's cache
        return []
    known = set(file.read_text(encoding="utf-8").splitlines())
    special = (tokenizer.unk_token, tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token)
    return [piece for piece in special if piece not in known]


def _check_padding(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, name: str, mend: str
) -> None:
    own, expected = tokenizer.pad_token_id, getattr(config, "pad_token_id", None)
    if own is None:
        raise DataError(f"encoder {name!r}: its tokenizer has no padding piece; {mend}")
    if expected is None or own == expected:
        return
    if config.model_type in SHIFTED:  # whose positions depend on it
        raise DataError(
            f"encoder {name!r}: expected a tokenizer whose padding piece has the id {expected}, "
            f"found {own}; {mend}"
        )
    log.warning(
        "encoder %r: its configuration gives the padding piece the id %d, its tokenizer %d: the "
        "tokenizer may be another encoder's",
        name,
        expected,
        own,
    )


def most_tokens(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int:
    """The longest text that an encoder takes, in word pieces."""
    positions: int = config.max_position_embeddings
    if config.model_type in SHIFTED:
        positions -= config.pad_token_id + 1
    return min(tokenizer.model_max_length, positions)


def check_words(
    posts: Iterable[Post], tokenizer: PreTrainedTokenizerBase, most: float, name: str
) -> float:
    """The share of the posts' words that have an unknown piece or none; it is logged.

    most: a larger share raises DataError.
    """
    unknown, total = unknown_words(posts, tokenizer)
    share = unknown / total if total else 0.0
    if share > most:
        raise DataError(
            f"encoder {name!r}: its tokenizer doesn't know {unknown:,} of {total:,} words of the "
            f"training posts ({share:.1%}), more than {most:.1%}; take an encoder for their "
            f"language, or allow it with --max-unknown {_rounded_up(share)}"
        )
    log_unknown(unknown, total, "the training posts")
    return share


def log_unknown(unknown: int, total: int, of: str) -> None:
    """Log how many words of some posts are unknown to the tokenizer, if any."""
    if unknown:
        log.info(
            "%d of %d words of %s (%.2f %%) are unknown to the tokenizer",
            unknown,
            total,
            of,
            100 * unknown / total,
        )


def _rounded_up(share: float) -> str:
    """A share that is enough, with two decimals."""
    return f"{-(-share * 100 // 1) / 100:.2f}"
