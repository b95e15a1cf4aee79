"""Measure the quality of noun phrases of real tweets, before and after cleaning.

    python -m bench.phrases [--data ../shared/data] [--by nltk] [--start 300] [--show 60]

Reads 300 distinct tweets of each training split, beginning with number `start`. Prints a JSON line
for raw chunks and one for cleaned phrases:

- coverage: share of tweets with a phrase; a_tweet: phrases per tweet
- junk: share of phrases that are of no use to a grounder; `reasons` counts them by the first of
  these reasons that applies:
  repeated: the tweet has the phrase already, in any case
  markup: remains of a link, handle, hashtag, HTML entity, retweet or emoji
  letterless: no letter, or a single character
  long: over six words
  shard: begins or ends with a punctuation mark or the tail of a contraction
  pronoun: only pronouns and determiners
  nameless: no noun, name, adjective or number
- led: share of phrases that begin with a determiner or possessive: not junk, but a word too long
- entity: of the tweets with gold entities, the share in which one of the first three phrases has a
  word of an entity

Parts of speech are spaCy's for the unchanged tweet, looked up by word, so spaCy is needed with
`--by nltk` too. None of the cleaning's rules are used here: they would miss their own errors.
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
        """Return all parts of speech that a word has in the tweet; empty if it is not in it."""
        return self.tags.get(bare(word), set())


def main() -> None:
    """Print the measures of both data sets."""
    parser = argparse.ArgumentParser(prog="python -m bench.phrases")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--by", choices=["spacy", "nltk"], default="spacy")
    parser.add_argument("--start", type=int, default=0, help="number of tweets to skip")
    parser.add_argument(
        "--show", type=int, default=0, help="number of random cleaned phrases to print"
    )
    asked = parser.parse_args()
    spacy = SpacyPhrases()
    chunker: Chunker = spacy if asked.by == "spacy" else NltkPhrases()
    for dataset in ("twitter2017", "mnre"):
        tweets = read_tweets(asked.data, dataset, spacy, asked.start)
        sentences = [tweet.tokens for tweet in tweets]
        cleaned = chunker.batch(sentences)
        for kind, phrases in (("raw", chunker.chunks(sentences)), ("cleaned", cleaned)):
            row = {"dataset": dataset, "by": asked.by, "phrases": kind}
            print(json.dumps(row | measure(tweets, phrases)))
        if asked.show:
            show(tweets, cleaned, asked.show)


def read_tweets(data: Path, dataset: str, spacy: SpacyPhrases, start: int = 0) -> list[Tweet]:
    """Read 300 distinct tweets of a training split; merge the entities of equal sentences."""
    entities: dict[tuple[str, ...], set[str]] = {}
    for post in corpus.read(corpus.locate(dataset, data)).posts:
        if post.split == "train":
            entities.setdefault(post.tokens, set()).update(entity_words(post))
    chosen = list(entities)[start : start + TWEETS]
    tags = [parts_of_speech(doc) for doc in spacy.docs(chosen)]
    return [
        Tweet(tokens, frozenset(entities[tokens]), tweet_tags)
        for tokens, tweet_tags in zip(chosen, tags, strict=True)
    ]


def entity_words(post: Post) -> set[str]:
    """Return the bare words of over two letters in a post's tagged entities, or head and tail."""
    words = [word for word, tag in zip(post.tokens, post.tags or (), strict=False) if tag != "O"]
    for span in (post.head, post.tail):
        words += post.tokens[slice(*span)] if span else ()
    return {word for word in map(bare, words) if len(word) > 2 and word != "the"}


def parts_of_speech(doc: Any) -> dict[str, set[str]]:
    """Return bare word -> its universal parts of speech, one or several."""
    tags: dict[str, set[str]] = {}
    for token in doc:
        tags.setdefault(bare(token.text), set()).add(token.pos_)
    return tags


def bare(word: str) -> str:
    """Return only letters and digits, in lower case: "U.S." and "#us" are the same word."""
    return "".join(filter(str.isalnum, word)).casefold()


def measure(tweets: Sequence[Tweet], phrase_lists: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Compute the measures listed above. phrase_lists: the phrases of each tweet."""
    pairs = list(zip(tweets, phrase_lists, strict=True))
    total = sum(map(len, phrase_lists))
    junk = Counter(why for tweet, phrases in pairs for why in reasons(tweet, phrases) if why)
    led = sum(is_led(tweet, phrase) for tweet, phrases in pairs for phrase in phrases)
    hits = [has_entity(tweet, phrases[:3]) for tweet, phrases in pairs if tweet.entities]
    return {
        "tweets": len(tweets),
        "coverage": round(sum(map(bool, phrase_lists)) / len(tweets), 3),
        "a_tweet": round(total / len(tweets), 2),
        "junk": round(junk.total() / total, 4),
        "led": round(led / total, 4),
        "entity": round(sum(hits) / len(hits), 3),
        "reasons": dict(junk.most_common()),
    }


def reasons(tweet: Tweet, phrases: Sequence[str]) -> list[str | None]:
    """Return the reason why each phrase of a tweet is junk, or None."""
    lower = [phrase.casefold() for phrase in phrases]
    return [
        "repeated" if lower[n] in lower[:n] else reason(tweet, phrase)
        for n, phrase in enumerate(phrases)
    ]


def reason(tweet: Tweet, phrase: str) -> str | None:
    """Return the reason why a phrase by itself is junk, or None."""
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
    if all(word_tags and word_tags <= {"PRON", "DET"} for word_tags in tags):
        return "pronoun"
    return None if any(word_tags & NAMING for word_tags in tags) else "nameless"


def is_shard(word: str) -> bool:
    """Return True for punctuation (but not currency signs) and for the tail of a contraction."""
    return not (bare(word) or word in "$£€") or word.strip("'’") in TAILS


def has_emoji(phrase: str) -> bool:
    """Return True if a phrase has a symbol or control character after U+20CF."""
    return any(ord(c) > 0x20CF and unicodedata.category(c)[0] in "SC" for c in phrase)


def is_led(tweet: Tweet, phrase: str) -> bool:
    """Return True if the first of several words is always a determiner or possessive."""
    tags = tweet.tags_of(phrase.split()[0])
    return " " in phrase and bool(tags) and tags <= {"DET", "PRON"}


def has_entity(tweet: Tweet, phrases: Sequence[str]) -> bool:
    """Return True if the phrases and the tweet's entities share a word."""
    return any(bare(word) in tweet.entities for phrase in phrases for word in phrase.split())


def show(tweets: Sequence[Tweet], phrase_lists: Sequence[Sequence[str]], count: int) -> None:
    """Print `count` random phrases, and all junk with its reasons, for reading."""
    rows = [
        (phrase, why)
        for tweet, phrases in zip(tweets, phrase_lists, strict=True)
        for phrase, why in zip(phrases, reasons(tweet, phrases), strict=True)
    ]
    for phrase, _ in random.Random(1).sample(rows, min(count, len(rows))):
        print(f"  {phrase}")
    for phrase, why in rows:
        if why:
            print(f"  {why}: {phrase}")


if __name__ == "__main__":
    main()
