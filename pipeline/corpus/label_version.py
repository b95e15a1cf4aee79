"""Compare the labels of a copy of Twitter-2015 with the original ones.

An edited version circulates on which scores are higher, so results can only be compared on the
same labels. `twitter2015.labels` holds a digest of the original, without its texts. It has for each
tweet an 8-byte key (a hash of split and tokens), the number of tokens, and half a byte per token (a
digit computed from the tag and the tweet). Tags are compared where the tokens are equal.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.corpus.post import Post

DATASET = "twitter2015"
ORIGINAL = "original"
DIGESTS = Path(__file__).with_name("twitter2015.labels")
_TAGS = ("O", *(f"{p}-{name}" for name in ("LOC", "MISC", "ORG", "PER") for p in "BI"))
_KEY, _COUNT = 8, struct.Struct("<H")


def about_labels(dataset: object, posts: Sequence[Post]) -> dict[str, str]:
    """Return the entry `label_version` of `metrics.json` for Twitter-2015, else nothing."""
    return {"label_version": label_version(posts)} if dataset == DATASET else {}


def label_version(posts: Sequence[Post]) -> str:
    """Return ORIGINAL, or a text with the numbers of tags and tweets that differ from it."""
    original = _read(DIGESTS.read_bytes())
    tweets = sum(map(len, original.values()))
    known = tokens = differing = 0
    for post in posts:
        key, digits = _digest(post)
        same_tokens = original.get(key, [])
        if not same_tokens:
            continue
        nearest = min(same_tokens, key=lambda others: _differing(others, digits))
        same_tokens.remove(nearest)
        known += 1
        tokens += len(digits)
        differing += _differing(nearest, digits)
    if differing == 0 and known == len(posts) == tweets:
        return ORIGINAL
    parts = [f"other labels: {differing} of {tokens} tags differ"]
    if known < len(posts):
        parts.append(f"{len(posts) - known} of {len(posts)} tweets are not among the original's")
    if known < tweets:
        parts.append(f"{tweets - known} of the original's {tweets} tweets are missing")
    return "; ".join(parts)


def encoded(posts: Iterable[Post]) -> bytes:
    """Encode posts as the content of `twitter2015.labels`."""
    return b"".join(_entry(*_digest(post)) for post in posts)


def _entry(key: bytes, digits: Sequence[int]) -> bytes:
    pairs = zip(digits[::2], [*digits[1::2], 0], strict=False)
    return key + _COUNT.pack(len(digits)) + bytes(a << 4 | b for a, b in pairs)


def _digest(post: Post) -> tuple[bytes, list[int]]:
    """Return a tweet's key and a digit per token: 15 for a tag that is not in `_TAGS`."""
    text = "\0".join((post.split, *post.tokens)).encode()
    digest = hashlib.shake_256(text).digest(_KEY + len(post.tokens))
    numbers = [_TAGS.index(tag) if tag in _TAGS else None for tag in post.tags or ()]
    return digest[:_KEY], [
        15 if number is None else (number + shift) % len(_TAGS)
        for number, shift in zip(numbers, digest[_KEY:], strict=False)
    ]


def _differing(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True)) if len(a) == len(b) else len(a)


def _read(content: bytes) -> dict[bytes, list[list[int]]]:
    """Map each key to the digits of its tweets: several, as some tweets have equal texts."""
    tweets: dict[bytes, list[list[int]]] = {}
    place = 0
    while place < len(content):
        key = content[place : place + _KEY]
        (count,) = _COUNT.unpack_from(content, place + _KEY)
        place += _KEY + _COUNT.size
        size = (count + 1) // 2
        digits = [half for byte in content[place : place + size] for half in (byte >> 4, byte & 15)]
        tweets.setdefault(key, []).append(digits[:count])
        place += size
    return tweets
