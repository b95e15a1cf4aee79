"""Check that a tokenizer fits an encoder before they are used."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from features.grounding.hub import TOKENIZER
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.training.encode import unknown_words

PADDING = 1024  # embedding rows that may have no piece; or a tenth of all rows, if that is more
# Encoders whose positions start at the padding piece's id + 1: their longest text is shorter.
SHIFTED = ("roberta", "xlm-roberta")
UNMERGED = 0.1  # largest share of a BPE's longer pieces without a merge: markers, unused pieces
_PARTS = ("end_of_word_suffix", "continuing_subword_prefix")
log = logging.getLogger(__name__)


def check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, rows: int, name: str
) -> None:
    """Raise DataError unless the tokenizer fits the encoder. Call it before markers are added.

    A doubtful padding piece or a missing emoji package is only logged.

    config: of the encoder.
    rows: number of rows of the encoder's embeddings.
    name: hub name or folder of the encoder, for messages.
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
            "installed, so emojis may become unknown pieces; pip install emoji",
            name,
        )


def _check_size(size: int, rows: int, name: str, mend: str) -> None:
    """Raise DataError unless a tokenizer's size, its highest id + 1, fits the embeddings."""
    if size > rows or rows - size > max(PADDING, rows // 10):
        raise DataError(
            f"encoder {name!r}: expected a tokenizer of {rows:,} pieces, one per row of its "
            f"embeddings, found one of {size:,}; {mend}"
        )
    if size < rows:
        log.info("encoder %r: %d rows of its embeddings have no word piece", name, rows - size)


def _check_merges(tokenizer: PreTrainedTokenizerBase, name: str, mend: str) -> None:
    """Raise DataError if merges of a BPE are missing: words would be split into letters.

    Each piece of several characters needs a merge that makes it.
    """
    if not tokenizer.is_fast:
        return
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] != "BPE" or model.get("ignore_merges"):
        return
    suffix, prefix = (model.get(part) or "" for part in _PARTS)
    merged = {left + right.removeprefix(prefix) for left, right in model["merges"]}
    long = {piece for piece in model["vocab"] if len(piece.removesuffix(suffix)) > 1}
    long -= {*tokenizer.all_special_tokens, *map(str, tokenizer.added_tokens_decoder.values())}
    lost = sorted(long - merged)
    if len(lost) > len(long) * UNMERGED:
        raise DataError(
            f"encoder {name!r}: {len(lost):,} of its {len(long):,} longer word pieces, such as "
            f"{lost[0]!r}, are made by no merge: its merges are cut short; {mend}"
        )


def _made_up(tokenizer: PreTrainedTokenizerBase, name: str) -> list[str]:
    """Return the special pieces that a BERT's vocab.txt lacks: transformers adds them untrained."""
    file = Path(name) / "vocab.txt"
    if type(tokenizer).__name__ != "BertTokenizer" or (Path(name) / TOKENIZER).is_file():
        return []
    if not file.is_file():  # the encoder is in the hub's cache
        return []
    known = set(file.read_text(encoding="utf-8").splitlines())
    special = (tokenizer.unk_token, tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token)
    return [piece for piece in special if piece not in known]


def _check_padding(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, name: str, mend: str
) -> None:
    """Raise DataError or log a warning if the padding piece's id is not the encoder's."""
    padding, expected = tokenizer.pad_token_id, getattr(config, "pad_token_id", None)
    if padding is None:
        raise DataError(f"encoder {name!r}: its tokenizer has no padding piece; {mend}")
    if expected is None or padding == expected:
        return
    if config.model_type in SHIFTED:  # positions depend on the id
        raise DataError(
            f"encoder {name!r}: expected a tokenizer whose padding piece has the id {expected}, "
            f"found {padding}; {mend}"
        )
    log.warning(
        "encoder %r: its configuration gives the padding piece the id %d, its tokenizer %d: the "
        "tokenizer may belong to another encoder",
        name,
        expected,
        padding,
    )


def most_tokens(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int:
    """Return the longest text that an encoder takes, in word pieces."""
    positions: int = config.max_position_embeddings
    if config.model_type in SHIFTED:
        positions -= config.pad_token_id + 1
    return min(tokenizer.model_max_length, positions)


def check_words(
    posts: Iterable[Post], tokenizer: PreTrainedTokenizerBase, most: float, name: str
) -> float:
    """Return and log the share of the posts' words that have an unknown piece or no piece.

    Raises DataError if the share is more than `most`.
    """
    unknown, total = unknown_words(posts, tokenizer)
    share = unknown / total if total else 0.0
    if share > most:
        raise DataError(
            f"encoder {name!r}: its tokenizer doesn't know {unknown:,} of {total:,} words of the "
            f"training posts ({share:.1%}), more than {most:.1%}; choose an encoder for their "
            f"language, or allow it with --max-unknown {_rounded_up(share)}"
        )
    log_unknown(unknown, total, "the training posts")
    return share


def log_unknown(unknown: int, total: int, of: str) -> None:
    """Log how many words are unknown to the tokenizer, if any. of: names the posts."""
    if unknown:
        log.info(
            "%d of %d words of %s (%.2f %%) are unknown to the tokenizer",
            unknown,
            total,
            of,
            100 * unknown / total,
        )


def _rounded_up(share: float) -> str:
    """Return a share rounded up to two decimals."""
    return f"{-(-share * 100 // 1) / 100:.2f}"
