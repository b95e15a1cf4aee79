"""How good the noun phrases of real tweets are, as they come and cleaned.

    python -m bench.phrases [--data ../shared/data] [--by nltk] [--start 300] [--show 60]

Of 300 distinct tweets of each training part, from the `start`-th on. Prints a JSON line each for
raw chunks and cleaned phrases:

- coverage: share of tweets with a phrase; a_tweet: phrases a tweet
- junk: share of phrases that are no use to a grounder; `reasons` counts them by the first that
  holds: repeated (in the same tweet, in whatever case), markup (remains of a link, handle, hashtag,
  HTML entity, retweet or emoji), letterless (or a single character), long (over six words), shard
  (a sign or a contraction's tail at either end), pronoun (and no other words), nameless (no noun,
  name, adjective or number)
- led: share of phrases led by a determiner or possessive: no junk, but a word too many
- entity: of tweets with gold entities, the share in which one of the first three phrases has a
  word of an entity

Parts of speech are spaCy's for the tweet as it stands, looked up by word. Nothing here is taken
from the cleaning's own rules, which could find no fault with themselves. Needs spaCy, whoever
finds the phrases.
"""

import argparse
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import corpus
from pipeline.corpus.post import Post
from pipeline.grounding.noun_phrases import Chunker, NltkPhrases, SpacyPhrases

TWEETS = 300
LONGEST = 6  # words
REMAINS = ("http", "www.", "t.co", "@", "#", "&amp", "&lt", "&gt", "&quot")
LONE_REMAINS = {"RT", "amp", "lt", "gt", "quot"}
TAILS = {"s", "t", "nt", "re", "ve", "ll", "d", "m"}
NAMING = {"NOUN", "PROPN", "ADJ", "NUM"}


@dataclass(frozen=True)
class Tweet:
    """A sentence, the words of its entities, and each word's parts of speech."""

    tokens: tuple[str, ...]
    entities: frozenset[str]
    tags: dict[str, set[str]]

    def tags_of(self, word: str) -> set[str]:
        """A word's parts of speech wherever it stands; none where it doesn't."""
        return self.tags.get(bare(word), set())


def main() -> None:
    """Print the measures of both data sets."""
    parser = argparse.ArgumentParser(prog="python -m bench.phrases")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--by", choices=["spacy", "nltk"], default="spacy")
    parser.add_argument("--start", type=int, default=0, help="tweets to pass over")
    parser.add_argument("--show", type=int, default=0, help="cleaned phrases to print, at random")
    asked = parser.parse_args()
    spacy = SpacyPhrases()
    chunker: Chunker = spacy if asked.by == "spacy" else NltkPhrases()
    for dataset in ("twitter2017", "mnre"):
        tweets = read_tweets(asked.data, dataset, spacy, asked.start)
        sentences = [tweet.tokens for tweet in tweets]
        cleaned = chunker.batch(sentences)
        for kind, found in (("raw", chunker.chunks(sentences)), ("cleaned", cleaned)):
            row = {"dataset": dataset, "by": asked.by, "phrases": kind}
            print(json.dumps(row | measure(tweets, found)))
        if asked.show:
            show(tweets, cleaned, asked.show)


def read_tweets(data: Path, dataset: str, spacy: SpacyPhrases, start: int = 0) -> list[Tweet]:
    """300 distinct tweets of a training part. Posts of one sentence add up their entities."""
    entities: dict[tuple[str, ...], set[str]] = {}
    for post in corpus.read(corpus.locate(dataset, data)).posts:
        if post.split == "train":
            entities.setdefault(post.tokens, set()).update(entity_words(post))
    chosen = list(entities)[start : start + TWEETS]
    tags = [parts_of_speech(doc) for doc in spacy.docs(chosen)]
    return [
        Tweet(tokens, frozenset(entities[tokens]), its)
        for tokens, its in zip(chosen, tags, strict=True)
    ]


def entity_words(post: Post) -> set[str]:
    """The bare words, longer than two letters, of a post's tagged entities or its head and tail."""
    words = [word for word, tag in zip(post.tokens, post.tags or (), strict=False) if tag != "O"]
    for span in (post.head, post.tail):
        words += post.tokens[slice(*span)] if span else ()
    return {word for word in map(bare, words) if len(word) > 2 and word != "the"}


def parts_of_speech(doc: Any) -> dict[str, set[str]]:
    """Universal parts of speech by bare word; a word may stand there as several."""
    found: dict[str, set[str]] = {}
    for token in doc:
        found.setdefault(bare(token.text), set()).add(token.pos_)
    return found


def bare(word: str) -> str:
    """Small letters and digits alone: "U.S." and "#us" are one word."""
    return "".join(filter(str.isalnum, word)).casefold()


def measure(tweets: Sequence[Tweet], found: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The measures that are told above, of each tweet's phrases."""
    pairs = list(zip(tweets, found, strict=True))
    total = sum(map(len, found))
    junk = Counter(why for tweet, phrases in pairs for why in reasons(tweet, phrases) if why)
    led = sum(is_led(tweet, phrase) for tweet, phrases in pairs for phrase in phrases)
    hits = [has_entity(tweet, phrases[:3]) for tweet, phrases in pairs if tweet.entities]
    return {
        "tweets": len(tweets),
        "coverage": round(sum(map(bool, found)) / len(tweets), 3),
        "a_tweet": round(total / len(tweets), 2),
        "junk": round(junk.total() / total, 4),
        "led": round(led / total, 4),
        "entity": round(sum(hits) / len(hits), 3),
        "reasons": dict(junk.most_common()),
    }


def reasons(tweet: Tweet, phrases: Sequence[str]) -> list[str | None]:
    """Why each phrase of a tweet is junk; None where it isn't."""
    lower = [phrase.casefold() for phrase in phrases]
    return [
        "repeated" if lower[n] in lower[:n] else reason(tweet, phrase)
        for n, phrase in enumerate(phrases)
    ]


def reason(tweet: Tweet, phrase: str) -> str | None:
    """Why a phrase is junk by itself; None where it isn't."""
    words = phrase.split()
    tags = [tweet.tags_of(word) for word in words if bare(word)]
    if any(r in phrase.lower() for r in REMAINS) or LONE_REMAINS & set(words) or has_emoji(phrase):
        return "markup"
    if len(phrase) < 2 or not any(map(str.isalpha, phrase)):
        return "letterless"
    if len(words) > LONGEST:
        return "long"
    if is_shard(words[0]) or is_shard(words[-1]):
        return "shard"
    if all(its and its <= {"PRON", "DET"} for its in tags):
        return "pronoun"
    return None if any(its & NAMING for its in tags) else "nameless"


def is_shard(word: str) -> bool:
    """Whether a word is no word: a sign but a currency's, or what a contraction leaves."""
    return not (bare(word) or word in "$£€") or word.strip("'’") in TAILS


def has_emoji(phrase: str) -> bool:
    """Whether there is a symbol or control character beyond those of plain print."""
    return any(ord(c) > 0x20CF and unicodedata.category(c)[0] in "SC" for c in phrase)


def is_led(tweet: Tweet, phrase: str) -> bool:
    """Whether the first word is a determiner or possessive, wherever it stands in the tweet."""
    tags = tweet.tags_of(phrase.split()[0])
    return " " in phrase and bool(tags) and tags <= {"DET", "PRON"}


def has_entity(tweet: Tweet, phrases: Sequence[str]) -> bool:
    """Whether phrases and entities share a word."""
    return any(bare(word) in tweet.entities for phrase in phrases for word in phrase.split())


def show(tweets: Sequence[Tweet], found: Sequence[Sequence[str]], count: int) -> None:
    """Print phrases at random, and all that count as junk, to be read."""
    rows = [
        (phrase, why)
        for tweet, phrases in zip(tweets, found, strict=True)
        for phrase, why in zip(phrases, reasons(tweet, phrases), strict=True)
    ]
    for phrase, _ in random.Random(1).sample(rows, min(count, len(rows))):
        print(f"  {phrase}")
    for phrase, why in rows:
        if why:
            print(f"  {why}: {phrase}")


if __name__ == "__main__":
    main()
