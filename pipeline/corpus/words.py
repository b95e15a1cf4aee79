"""Words of a text: split it, locate given words in it, and find the words that a span covers."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from pipeline.corpus.post import Span

_TOKEN = re.compile(
    r"""
      (?:https?://|www\.)\S+(?<![.,:;!?'"\u2019\u201d\u2026)\]}>])  # URL, no punctuation at its end
    | [@#]\w+                        # handle, tag
    | &\#?\w+;                       # HTML entity
    | \w+(?:['\u2019-]\w+)*          # word, with inner apostrophes and hyphens
    | \S                             # any other symbol by itself
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"\w")


def split_text(text: str) -> tuple[str, ...]:
    """Split a sentence into URLs, @handles, #tags, HTML entities, words and single symbols.

    A word keeps its inner apostrophes and hyphens. Only spaces are dropped.
    """
    return tuple(_TOKEN.findall(text))


def word_spans(text: str, bounds: Iterable[int] = ()) -> list[Span]:
    """Return [start, end) in characters of the tokens of `split_text`.

    bounds: places where entities begin or end. A token is also cut there, unless a letter or digit
        is on both sides: "Globex" in "#Globex" becomes a token, "Ad" in "Ada" does not.
    """
    cuts = sorted({n for n in bounds if 0 < n < len(text) and not _inside_word(text, n)})
    spans = []
    at = 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        while at < len(cuts) and cuts[at] < match.end():
            if cuts[at] > start:
                spans.append((start, cuts[at]))
                start = cuts[at]
            at += 1
        spans.append((start, match.end()))
    return spans


def _inside_word(text: str, place: int) -> bool:
    return all(_WORD.match(text[n]) for n in (place - 1, place))


def token_spans(text: str, tokens: Sequence[str]) -> list[Span] | None:
    """Return [start, end) in characters of given tokens, or None if the text isn't made of them."""
    spans = []
    place = 0
    for token in tokens:
        while not text.startswith(token, place):
            if place >= len(text) or not text[place].isspace():
                return None
            place += 1
        spans.append((place, place + len(token)))
        place += len(token)
    return spans if not text[place:].strip() else None


def covered(words: Sequence[Span], start: int, end: int) -> Span | None:
    """Return [first, last + 1) of the words that overlap characters [start, end), or None."""
    first = bisect_right(words, start, key=lambda word: word[1])
    last = bisect_left(words, end, key=lambda word: word[0])
    return (first, last) if first < last else None
