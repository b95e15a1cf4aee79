"""The posts that Gates and Cases can show: labelled posts of test or val, chosen by their ids."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.training.possible import is_labelled


def held_out(task: str, posts: Sequence[Post]) -> tuple[str, dict[int, Post]]:
    """Return the split to show, test or else val, and its labelled posts by number.

    The posts are those of a run's predictions, in the same order.
    """
    by_split = {
        split: {
            number: post
            for number, post in enumerate(posts)
            if post.split == split and is_labelled(task, post)
        }
        for split in ("test", "val")
    }
    return next(((split, own) for split, own in by_split.items() if own), ("val", {}))


def with_ids(chosen: Sequence[str], posts: Collection[Post], where: str) -> list[int]:
    """Return the places of posts with the chosen ids. where: names the posts in the message.

    Raises DataError for an unknown id.
    """
    places = {post.id: place for place, post in enumerate(posts)}
    unknown = next((name for name in chosen if name not in places), None)
    if unknown is not None:
        near = get_close_matches(unknown, places, n=1)
        advice = f"did you mean {near[0]}?" if near else "choose others"
        raise DataError(
            f"--posts: expected ids of {where}, such as {next(iter(places), 'none')!r}, found "
            f"{unknown!r}; {advice}"
        )
    return [places[name] for name in chosen]
