"""Noun phrases and their cleaning."""

from pathlib import Path

import pytest

from pipeline.phrases import SpacyPhrases, clean, clean_tokens, installed

TWEETS = Path(__file__).resolve().parents[2] / "shared" / "data" / "twitter2017" / "train.txt"
needs_spacy = pytest.mark.skipif(not installed(), reason="no spaCy model is installed")


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ("RT @WLWT : Bill Cosby 's star", "Bill Cosby 's star"),
        ("RT @ someone : a dog", "a dog"),
        ("look https://t.co/abc at bit.ly/xyz this", "look at this"),
        ("@ indyindians won", "won"),
        ("#MLB # Giants", "MLB Giants"),
        ("Tom &amp; Jerry 💞 ⚾ ️", "Tom Jerry"),
        ("a dog , a cat .", "a dog , a cat ."),
    ],
)
def test_tokens_are_cleaned(tokens: str, kept: str) -> None:
    assert clean_tokens(tokens.split(" ")) == kept.split(" ")


@pytest.mark.parametrize(
    ("phrases", "kept"),
    [
        (["the White House", "his new car"], ("White House", "new car")),
        (["it", "they", "myself"], ()),
        (["2010", "!!"], ()),
        (["Dog", "the dog", "cat"], ("Dog", "cat")),
        (["one two three four five six seven"], ()),
        (["St. Louis"], ("St Louis",)),
    ],
)
def test_phrases_are_cleaned(phrases: list[str], kept: tuple[str, ...]) -> None:
    assert clean(phrases) == kept


@needs_spacy
def test_chunks_of_tokens() -> None:
    tokens = "RT @x : Bill Cosby met the young singer near Lake Erie https://t.co/1".split()
    assert SpacyPhrases().batch([tokens, []]) == [("Bill Cosby", "young singer", "Lake Erie"), ()]


@needs_spacy
@pytest.mark.skipif(not TWEETS.exists(), reason="the real tweets are not there")
def test_real_tweets_are_covered() -> None:
    blocks = TWEETS.read_text(encoding="utf-8").split("\n\n")[:300]
    posts = [[line.split("\t")[0] for line in block.split("\n")[1:]] for block in blocks]
    found = SpacyPhrases().batch(posts)
    assert sum(bool(phrases) for phrases in found) >= 0.95 * len(posts)
    assert 2.5 <= sum(len(phrases) for phrases in found) / len(posts) <= 4
