"""Phrases of posts: their sources, the cleaning rules, both parsers, and real tweets."""

import json
import logging
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import phrases as bench
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.grounding import noun_phrases, phrases
from pipeline.grounding.noun_phrases import NltkPhrases, SpacyPhrases, clean, installed, readable
from pipeline.grounding.phrases import GIVEN_OR_SPACY, MODES, Phrases, phrases_of, resolve_phrases
from tests.tiny import SHARED

TOKENS = ("Ann", "Lee", "sings", "in", "the", "U.S.", "with", "a", "red", "guitar")
POST = Post("1", "train", TOKENS, head=(0, 2), tail=(4, 6), relation="/per/loc/x")
PARSED = ("Ann Lee", "US", "red guitar")


@pytest.fixture(scope="module")
def spacy_phrases() -> SpacyPhrases:
    if not installed():
        pytest.skip("needs spaCy and its English model")
    return SpacyPhrases()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The sentences that were parsed. The parsers return PARSED for every sentence."""
    seen: list[tuple[str, ...]] = []

    class Parser:
        def batch(self, posts: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
            seen.extend(posts)
            return [PARSED for _ in posts]

    monkeypatch.setattr(phrases, "SpacyPhrases", Parser)
    monkeypatch.setattr(phrases, "NltkPhrases", Parser)
    return seen


# Sources of phrases


@pytest.mark.parametrize(
    ("mode", "given", "expected"),
    [
        ("given", ("The Band!", " ", "it"), Phrases(("The Band!", "it"), "given")),
        ("given", (), Phrases()),
        ("given", None, Phrases()),
        ("spacy", ("band",), Phrases(PARSED, "spacy")),
        ("nltk", ("band",), Phrases(PARSED, "nltk")),
        (GIVEN_OR_SPACY, ("band",), Phrases(("band",), "given")),
        (GIVEN_OR_SPACY, (), Phrases()),
        (GIVEN_OR_SPACY, None, Phrases(PARSED, "spacy")),
        ("umgf", None, Phrases(("person", "location", "organization", "miscellaneous"), "umgf")),
        ("types", ("band",), Phrases(("person", "location", "organization"), "types")),
        ("entities", None, Phrases(("Ann Lee", "US"), "entities")),
        ("entities-leaked", None, Phrases(("Ann Lee", "US"), "entities")),
        ("none", ("band",), Phrases()),
    ],
)
def test_modes(
    parsed: list[tuple[str, ...]], mode: str, given: tuple[str, ...] | None, expected: Phrases
) -> None:
    assert phrases_of([replace(POST, phrases=given)], mode) == [expected]
    assert parsed == ([TOKENS] if expected.source in ("spacy", "nltk") else [])


def test_auto_takes_spacy_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, parsed: list[tuple[str, ...]]
) -> None:
    assert "auto" in MODES
    monkeypatch.setattr(phrases, "installed", lambda: True)
    assert resolve_phrases("auto") == GIVEN_OR_SPACY
    assert phrases_of([POST], "auto") == [Phrases(PARSED, "spacy")]
    monkeypatch.setattr(phrases, "installed", lambda: False)
    assert phrases_of([POST], "auto") == [Phrases()]
    assert resolve_phrases("nltk") == "nltk"


def test_each_sentence_is_parsed_once(parsed: list[tuple[str, ...]]) -> None:
    posts = [replace(POST, id=str(n), head=(n, n + 1)) for n in range(5)]
    other = replace(POST, tokens=("an", "owl"))
    result = phrases_of([*posts, other, *posts], "spacy")
    assert parsed == [TOKENS, ("an", "owl")]
    assert result == [Phrases(PARSED, "spacy")] * 11


def test_entities_are_for_training_posts_that_have_both(parsed: list[tuple[str, ...]]) -> None:
    posts = [replace(POST, split=split) for split in ("train", "val", "test")]
    bare = [replace(POST, tail=None), replace(POST, tokens=(":)", "!"), head=(0, 1), tail=(1, 2))]
    sources = [p.source for p in phrases_of([*posts, *bare], "entities")]
    assert sources == ["entities", "spacy", "spacy", "spacy", "spacy"]
    leaked = [p.source for p in phrases_of([*posts, *bare], "entities-leaked")]
    assert leaked == ["entities", "entities", "entities", "spacy", "spacy"]


@pytest.mark.parametrize(
    ("mode", "warning"),
    [
        ("entities", "2 val and test posts get noun phrases, as their entities"),
        ("entities-leaked", "2 val and test posts get their entities.* not comparable"),
    ],
)
def test_one_warning_of_leaks(
    parsed: list[tuple[str, ...]], caplog: pytest.LogCaptureFixture, mode: str, warning: str
) -> None:
    posts = [replace(POST, split=split) for split in ("train", "val", "test", "test")]
    posts[3] = replace(posts[3], head=None)
    with caplog.at_level(logging.WARNING):
        phrases_of(posts[:1], mode)
        assert not caplog.messages
        phrases_of(posts, mode)
    (message,) = caplog.messages
    assert re.search(warning, message)
    assert ("--phrases entities-leaked" in message) == (mode == "entities")


# Cleaning


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("RT @thehill : Trump wins", "Trump wins"),
        ("RT @ BleacherReport : Cavs win", "Cavs win"),
        ("RT for Helen Wood", "for Helen Wood"),
        ("so true RT @ BleacherReport : Cavs win", "so true . Cavs win"),
        ("look , @maya_k and .@tom at https://t.co/x1 www.a.org", "look , and at"),
        ("tonight @ Madison Square", "tonight at Madison Square"),
        ("@ NO_TATS_B knows", "knows"),
        ("# NBA #Finals !", "NBA , Finals !"),
        ("the #NBA Finals # Cavs #win", "the NBA Finals . Cavs . win"),
        ("a look at anti-#war/#art", "a look at anti- war/ art"),
        ("Tom &amp; Jerry &#39;s", "Tom & Jerry 's"),
        ("Tom & amp ; Jerry & gt ; x", "Tom & Jerry x"),
        ("Trump ' s Didn ’ t it's O ' Neill", "Trump 's Did n't it 's O ' Neill"),
        ("😑 dubbed💙 ❤️ ★ 👍🏽", "dubbed"),
        ("café हिन्दी", "café हिन्दी"),
        ("\xa0 x", "x"),
        ("😀", ""),
        ("", ""),
    ],
)
def test_readable(tokens: str, expected: str) -> None:
    assert " ".join(readable(tokens.split(" "))) == expected


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the old photo", "old photo"),
        ("all his Canadian soccer team", "Canadian soccer team"),
        ("just a few homes", "homes"),
        ("The U.S. team .", "US team"),
        ("#NBA finals 💙", "NBA finals"),
        ("St. Louis &amp; Gateway", "St Louis & Gateway"),
        ('the " Wire " reference', "Wire reference"),
        ("Cowboys ' Elliott", "Cowboys ' Elliott"),
        ("Trump ’ s hair", "Trump 's hair"),
        ("'s hair", "hair"),
        ("@ThePhotoHour Damms", "Damms"),
        ("( Page 25 )", "Page 25"),
        ("first time lucky", "first time lucky"),
        ("US", "US"),
        ("us", None),
        ("what it", None),
        ("the", None),
        ("2016", None),
        ("J", None),
        ("5 p", None),
        ("lol", None),
        ("Tonight", None),
        ("9 weeks", None),
        ("the first time", None),
        ("http://t.co/abc", None),
        ("one two three four five six seven", None),
        ("", None),
    ],
)
def test_clean(phrase: str, expected: str | None) -> None:
    assert clean([phrase]) == (() if expected is None else (expected,))


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Snapshot : the boss ( Khan )", ("Snapshot", "boss", "Khan")),
        ("Ann Lee and Bill", ("Ann Lee and Bill",)),
        ("Ann Lee and Bill Moe 's new red song", ("Ann Lee", "Bill Moe", "new red song")),
    ],
)
def test_clean_cuts(phrase: str, expected: tuple[str, ...]) -> None:
    assert clean([phrase]) == expected


def test_clean_keeps_order_and_drops_repetitions() -> None:
    assert clean(["the band", "Oslo", "A Band", "oslo", "it"]) == ("band", "Oslo")


# Taggers


def test_spacy(spacy_phrases: SpacyPhrases) -> None:
    posts = [
        "RT @WLWT : Bill Cosby 's star on Hollywood Walk of Fame vandalized".split(),
        ["😀", "@tom"],
        [],
        "I love #Oslo and my old red bicycle !".split(),
    ]
    batch = spacy_phrases.batch(posts)
    assert batch[0] == ("Bill Cosby 's star", "Hollywood Walk", "Fame")
    assert batch[1:3] == [(), ()]
    assert batch[3:] == spacy_phrases.batch(posts[3:]) == [("Oslo", "old red bicycle")]


def test_spacy_model_that_is_not_installed() -> None:
    assert not installed("xx_no_such_model")
    with pytest.raises(DataError, match="xx_no_such_model is not installed"):
        SpacyPhrases("xx_no_such_model")


@pytest.fixture
def nltk_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An NLTK data folder with a tagger trained on a few sentences, in NLTK's format."""
    data = pytest.importorskip("nltk.data")
    from nltk.tag.perceptron import PerceptronTagger

    random.seed(1)  # training shuffles the sentences
    tagger = PerceptronTagger(load=False)
    tagger.train([[tuple(w.rsplit("/", 1)) for w in line.split()] for line in TAGGED] * 5)
    folder = tmp_path / "taggers" / noun_phrases.TAGGER
    folder.mkdir(parents=True)
    for name, part in zip(("weights", "tagdict", "classes"), tagger.encode_json_obj(), strict=True):
        (folder / f"{noun_phrases.TAGGER}.{name}.json").write_text(json.dumps(part))
    monkeypatch.setattr(data, "path", [str(tmp_path)])
    return tmp_path


TAGGED = [
    "the/DT old/JJ man/NN sings/VBZ in/IN Oslo/NNP ./.",
    "two/CD red/JJ cars/NNS stop/VBP at/IN the/DT old/JJ house/NN ./.",
    "she/PRP loves/VBZ her/PRP$ small/JJ dog/NN and/CC a/DT guitar/NN ./.",
    "Ann/NNP Lee/NNP 's/POS band/NN plays/VBZ in/IN New/NNP York/NNP ./.",
    "the/DT dog/NN sings/VBZ and/CC she/PRP plays/VBZ the/DT red/JJ guitar/NN !/.",
]


def test_nltk(nltk_weights: Path) -> None:
    posts = [
        "RT @x : Ann Lee 's dog loves the old guitar https://t.co/x1".split(),
        ["😀", "@tom"],
        [],
        "she plays in #Oslo and two red cars stop !".split(),
    ]
    batch = NltkPhrases().batch(posts)
    assert batch == [("Ann Lee 's dog", "old guitar"), (), (), ("Oslo", "two red cars")]
    assert phrases_of([replace(POST, tokens=tuple(posts[3]))], "nltk") == [
        Phrases(("Oslo", "two red cars"), "nltk")
    ]


def test_nltk_without_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest.importorskip("nltk.data"), "path", [str(tmp_path)])
    with pytest.raises(DataError, match=f"-m nltk.downloader {noun_phrases.TAGGER}") as caught:
        phrases_of([POST], "nltk")
    assert "\n" not in str(caught.value)


def test_nltk_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noun_phrases, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="NLTK is not installed; pip install nltk"):
        NltkPhrases()


def test_resolving_auto_imports_no_parser() -> None:
    code = "import sys, pipeline.grounding.phrases as p; p.resolve_phrases('auto'); "
    code += "sys.exit(bool({'spacy', 'nltk'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)


# Real tweets


@pytest.fixture(scope="module", params=["twitter2017", "mnre"])
def tweets(request: pytest.FixtureRequest, spacy_phrases: SpacyPhrases) -> list[bench.Tweet]:
    if not (SHARED / "data" / request.param).is_dir():
        pytest.skip(f"needs the texts of {request.param}")
    return bench.read_tweets(SHARED / "data", request.param, spacy_phrases)


def test_cleaned_phrases_of_real_tweets(
    tweets: list[bench.Tweet], spacy_phrases: SpacyPhrases
) -> None:
    """The figures are no worse than those of the first cleaning: .98, 3.0, 2.4 %, 83 %."""
    measured = bench.measure(tweets, spacy_phrases.batch([tweet.tokens for tweet in tweets]))
    assert measured["tweets"] == 300
    assert measured["coverage"] >= 0.98
    assert 3.0 <= measured["a_tweet"] <= 3.5
    assert measured["junk"] + measured["led"] <= 0.024
    assert measured["entity"] >= 0.83


def test_the_measure_finds_junk_in_raw_phrases(
    tweets: list[bench.Tweet], spacy_phrases: SpacyPhrases
) -> None:
    measured = bench.measure(tweets, spacy_phrases.chunks([tweet.tokens for tweet in tweets]))
    assert measured["coverage"] == 1
    assert 0.2 <= measured["junk"] <= 0.4


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red guitar", None),
        ("RT red guitar", "markup"),
        ("#guitar", "markup"),
        ("guitar 💙", "markup"),
        ("2016", "letterless"),
        ("red red red red red red guitar", "long"),
        ("guitar '", "shard"),
        ("s guitar", "shard"),
        ("it", "pronoun"),
        ("wow", "nameless"),
        ("never said", "nameless"),
    ],
)
def test_what_counts_as_junk(phrase: str, expected: str | None) -> None:
    tags = {"red": {"ADJ"}, "guitar": {"NOUN"}, "it": {"PRON"}, "wow": {"INTJ"}}
    tweet = bench.Tweet((), frozenset(), tags)
    assert bench.reasons(tweet, [phrase, phrase.upper()]) == [expected, "repeated"]


def test_entities_that_are_handles_are_names() -> None:
    tokens = ("RT", "@RollingStone", "on", "@NASA_Johnson", "now")
    post = Post("1", "train", tokens, head=(0, 2), tail=(3, 4), relation="peer")
    assert phrases_of([post], "entities")[0].found == ("RollingStone", "NASA Johnson")
