"""The phrases that a grounder looks for in a post's picture, and their source."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.corpus.post import Post
from pipeline.grounding.noun_phrases import Chunker, NltkPhrases, SpacyPhrases, clean, installed

AUTO = "auto"
GIVEN = "given"  # post.phrases, as in the data
SPACY = "spacy"  # noun phrases by spaCy's parser
NLTK = "nltk"  # noun phrases by NLTK's tagger and a grammar
UMGF = "umgf"  # four fixed words, as for UMGF's crops
TYPES = "types"  # three fixed words, possibly those of the published crops
ENTITIES = "entities"  # head and tail, in training posts only
ENTITIES_LEAKED = "entities-leaked"  # head and tail in all posts: leaks part of the answer
NONE = "none"
MODES = (AUTO, GIVEN, SPACY, NLTK, UMGF, TYPES, ENTITIES, ENTITIES_LEAKED, NONE)
GIVEN_OR_SPACY = f"{GIVEN}, {SPACY}"  # spaCy's for posts whose phrases are None

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
    """Resolve "auto": given phrases, else spaCy's if a spaCy model is installed."""
    if mode != AUTO:
        return mode
    return GIVEN_OR_SPACY if installed() else GIVEN


def phrases_of(posts: Sequence[Post], mode: str) -> list[Phrases]:
    """Return the phrases of each post, by one of MODES or GIVEN_OR_SPACY.

    Given phrases, fixed words and entities need no parser. Posts for which the mode has none of
    these are parsed. Raises DataError if the parser is needed and not installed.
    """
    mode = resolve_phrases(mode)
    assert mode in (*MODES, GIVEN_OR_SPACY), mode
    _warn_of_leaks(posts, mode)
    known = [_known(post, mode) for post in posts]
    unknown = [post for post, phrases in zip(posts, known, strict=True) if phrases is None]
    parsed = _parsed(unknown, NLTK if mode == NLTK else SPACY)
    return [phrases or parsed[post.tokens] for post, phrases in zip(posts, known, strict=True)]


def _known(post: Post, mode: str) -> Phrases | None:
    """Return the phrases that need no parser, or None if the post must be parsed."""
    if mode == NONE:
        return Phrases()
    if mode in _FIXED:
        return Phrases(_FIXED[mode], mode)
    if mode == GIVEN or (mode == GIVEN_OR_SPACY and post.phrases is not None):
        # Given phrases are used as they are, without cleaning.
        return _phrases((p for p in post.phrases or () if p.strip()), GIVEN)
    if mode == ENTITIES_LEAKED or (mode == ENTITIES and post.split == "train"):
        return _entities(post)
    return None


def _entities(post: Post) -> Phrases | None:
    """Return head and tail; None if one is missing or cleaning leaves no word of them."""
    if post.head is None or post.tail is None:
        return None
    names = clean(_name(post.tokens[start:end]) for start, end in (post.head, post.tail))
    return _phrases(names, ENTITIES) if names else None


def _name(tokens: Sequence[str]) -> str:
    """Return an entity's words as a phrase. A handle counts as a name, unlike in noun phrases."""
    return " ".join(word.lstrip("@#").replace("_", " ") for word in tokens if word != "RT")


def _parsed(posts: Iterable[Post], by: str) -> dict[tuple[str, ...], Phrases]:
    """Return the noun phrases of each sentence. Up to 21 MNRE posts share one: parse it once."""
    sentences = list(dict.fromkeys(post.tokens for post in posts))
    if not sentences:
        return {}  # without loading the parser
    chunker: Chunker = NltkPhrases() if by == NLTK else SpacyPhrases()
    batch = chunker.batch(sentences)
    return {s: _phrases(phrases, by) for s, phrases in zip(sentences, batch, strict=True)}


def _phrases(phrases: Iterable[str], source: str) -> Phrases:
    phrases = tuple(phrases)
    return Phrases(phrases, source) if phrases else Phrases()


def _warn_of_leaks(posts: Sequence[Post], mode: str) -> None:
    """Warn if val or test posts have a head and a tail: using them leaks the answer."""
    if mode not in (ENTITIES, ENTITIES_LEAKED):
        return
    held = sum(p.split != "train" and p.head is not None and p.tail is not None for p in posts)
    if held and mode == ENTITIES:
        log.warning(
            "phrases: %d val and test posts get noun phrases, as their entities would leak the "
            "answer; --phrases %s uses the entities anyway",
            held,
            ENTITIES_LEAKED,
        )
    elif held:
        log.warning(
            "phrases: %d val and test posts get their entities, which leak the answer: scores on "
            "val and test are not comparable with others",
            held,
        )
