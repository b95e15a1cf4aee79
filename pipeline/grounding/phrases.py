"""Phrases of a post: what a grounder looks for in its picture, and where they are from."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.corpus.post import Post
from pipeline.grounding.noun_phrases import Chunker, NltkPhrases, SpacyPhrases, clean, installed

AUTO = "auto"
GIVEN = "given"  # post.phrases, as they came with the data
SPACY = "spacy"  # noun phrases by spaCy's parser
NLTK = "nltk"  # noun phrases by NLTK's tagger and a grammar
UMGF = "umgf"  # the four fixed words of UMGF's crops
TYPES = "types"  # three fixed words, which the published crops may have been made from too
ENTITIES = "entities"  # head and tail, in training posts alone
ENTITIES_LEAKED = "entities-leaked"  # head and tail in all posts, which tells part of the answer
NONE = "none"
MODES = (AUTO, GIVEN, SPACY, NLTK, UMGF, TYPES, ENTITIES, ENTITIES_LEAKED, NONE)
GIVEN_OR_SPACY = f"{GIVEN}, {SPACY}"  # spaCy's for posts of which the data says nothing

_TYPES = ("person", "location", "organization")
_FIXED = {TYPES: _TYPES, UMGF: (*_TYPES, "miscellaneous")}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phrases:
    """The phrases of a post. `source` is one of given, spacy, nltk, umgf, types and entities.

    A post without phrases has no source.
    """

    found: tuple[str, ...] = ()
    source: str | None = None


def resolve_phrases(mode: str) -> str:
    """Resolve "auto": given phrases, and spaCy's if a model is installed on this machine."""
    if mode != AUTO:
        return mode
    return GIVEN_OR_SPACY if installed() else GIVEN


def phrases_of(posts: Sequence[Post], mode: str) -> list[Phrases]:
    """The phrases of each post, by one of MODES or GIVEN_OR_SPACY.

    A mode's own phrases come first: those given, fixed ones, an entity pair's. Posts for which it
    has none are parsed. Raises DataError where what parses them is not installed.
    """
    mode = resolve_phrases(mode)
    assert mode in (*MODES, GIVEN_OR_SPACY), mode
    _warn_of_leaks(posts, mode)
    known = [_known(post, mode) for post in posts]
    unknown = [post for post, phrases in zip(posts, known, strict=True) if phrases is None]
    parsed = _parsed(unknown, NLTK if mode == NLTK else SPACY)
    return [phrases or parsed[post.tokens] for post, phrases in zip(posts, known, strict=True)]


def _known(post: Post, mode: str) -> Phrases | None:
    """The phrases that need no parser; None where they are to be parsed."""
    if mode == NONE:
        return Phrases()
    if mode in _FIXED:
        return Phrases(_FIXED[mode], mode)
    if mode == GIVEN or (mode == GIVEN_OR_SPACY and post.phrases is not None):
        # Phrases that came with a post are not cleaned.
        return _phrases((p for p in post.phrases or () if p.strip()), GIVEN)
    if mode == ENTITIES_LEAKED or (mode == ENTITIES and post.split == "train"):
        return _entities(post)
    return None


def _entities(post: Post) -> Phrases | None:
    """Head and tail, where there are both and a word of them is left."""
    if post.head is None or post.tail is None:
        return None
    names = clean(_name(post.tokens[start:end]) for start, end in (post.head, post.tail))
    return _phrases(names, ENTITIES) if names else None


def _name(tokens: Sequence[str]) -> str:
    """An entity's words as a name: a handle is one here, where noun phrases have no use for it."""
    return " ".join(word.lstrip("@#").replace("_", " ") for word in tokens if word != "RT")


def _parsed(posts: Iterable[Post], by: str) -> dict[tuple[str, ...], Phrases]:
    """Noun phrases by sentence. Each is parsed once: up to 21 posts of MNRE share one."""
    sentences = list(dict.fromkeys(post.tokens for post in posts))
    if not sentences:
        return {}  # the parser is not needed, so not loaded
    chunker: Chunker = NltkPhrases() if by == NLTK else SpacyPhrases()
    found = chunker.batch(sentences)
    return {s: _phrases(phrases, by) for s, phrases in zip(sentences, found, strict=True)}


def _phrases(found: Iterable[str], source: str) -> Phrases:
    found = tuple(found)
    return Phrases(found, source) if found else Phrases()


def _warn_of_leaks(posts: Sequence[Post], mode: str) -> None:
    """Head and tail are part of the question that validation and test posts ask."""
    if mode not in (ENTITIES, ENTITIES_LEAKED):
        return
    held = sum(p.split != "train" and p.head is not None and p.tail is not None for p in posts)
    if held and mode == ENTITIES:
        log.warning(
            "phrases: %d val and test posts get noun phrases, not their entities, which would leak "
            "the answer; --phrases %s gives them entities all the same",
            held,
            ENTITIES_LEAKED,
        )
    elif held:
        log.warning(
            "phrases: %d val and test posts get their entities, which leak the answer: scores on "
            "val and test are not comparable",
            held,
        )
