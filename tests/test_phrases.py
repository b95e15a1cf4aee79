"""Noun phrases: the cleaning rules, and spaCy's on real tweets."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.corpus import DataError
from pipeline.phrases import SpacyPhrases, clean, installed, readable

TWEETS = Path(__file__).resolve().parents[2] / "shared/data/twitter2017/train.txt"


@pytest.fixture(scope="module")
def spacy_phrases() -> SpacyPhrases:
    if not installed():
        pytest.skip("needs spaCy and its English model")
    return SpacyPhrases()


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("RT @thehill : Trump wins", "Trump wins"),
        ("RT @ BleacherReport : Cavs win", "Cavs win"),
        ("RT for Helen Wood", "for Helen Wood"),
        ("look , @maya_k and .@tom at https://t.co/x1 www.a.org", "look , and at"),
        ("tonight @ Madison Square", "tonight Madison Square"),
        ("# NBA #Finals !", "NBA Finals !"),
        ("Tom &amp; Jerry &#39;s", "Tom & Jerry 's"),
        ("😑 dubbed💙 ❤️ ★ 👍🏽", "dubbed"),
        ("café हिन्दी", "café हिन्दी"),
        ("\xa0 x", "x"),
        ("😀", ""),
    ],
)
def test_readable(tokens: str, expected: str) -> None:
    assert " ".join(readable(tokens.split(" "))) == expected


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the old photo", "old photo"),
        ("all his Canadian soccer team", "Canadian soccer team"),
        ("The U.S. team .", "US team"),
        ("#NBA finals 💙", "NBA finals"),
        ("St. Louis &amp; Gateway", "St Louis & Gateway"),
        ('the " Wire " reference', "Wire reference"),
        ("Cowboys ' Elliott", "Cowboys ' Elliott"),
        ("@ThePhotoHour Damms", "Damms"),
        ("US", "US"),
        ("us", None),
        ("what it", None),
        ("the", None),
        ("2016", None),
        ("J", None),
        ("http://t.co/abc", None),
        ("one two three four five six seven", None),
        ("", None),
    ],
)
def test_clean(phrase: str, expected: str | None) -> None:
    assert clean([phrase]) == (() if expected is None else (expected,))


def test_clean_keeps_order_and_drops_what_occurred() -> None:
    assert clean(["the band", "Oslo", "A Band", "oslo", "it"]) == ("band", "Oslo")


def test_phrases_of_posts(spacy_phrases: SpacyPhrases) -> None:
    posts = [
        "RT @WLWT : Bill Cosby 's star on Hollywood Walk of Fame vandalized".split(),
        ["😀", "@tom"],
        [],
        "I love #Oslo and my old red bicycle !".split(),
    ]
    found = spacy_phrases.batch(posts)
    assert found[0] == ("Bill Cosby 's star", "Hollywood Walk", "Fame")
    assert found[1:3] == [(), ()]
    assert found[3] == spacy_phrases(posts[3]) == ("Oslo", "old red bicycle")


def test_real_tweets(spacy_phrases: SpacyPhrases) -> None:
    if not TWEETS.exists():
        pytest.skip("needs the texts of Twitter-2017")
    tweets = [tokens for tokens, _ in zip(_tweets(), range(300), strict=False)]
    found = spacy_phrases.batch(tweets)
    covered = sum(map(bool, found)) / len(found)
    mean = sum(map(len, found)) / len(found)
    assert covered >= 0.95, covered
    assert 2.5 <= mean <= 4, mean
    assert not [p for phrases in found for p in phrases if "." in p or p != p.strip()]


def _tweets() -> Iterator[list[str]]:
    for tweet in TWEETS.read_text(encoding="utf-8").split("\n\n"):
        yield [line.partition("\t")[0] for line in tweet.strip("\n").split("\n")[1:]]


def test_model_that_is_not_installed() -> None:
    assert not installed("xx_no_such_model")
    with pytest.raises(DataError, match="xx_no_such_model is not installed"):
        SpacyPhrases("xx_no_such_model")


def test_asking_imports_no_spacy() -> None:
    code = "import sys, pipeline.phrases as p; p.installed(); sys.exit('spacy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
