"""A trained run with its model loaded and its stored pictures open, and the posts to show of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from model.encoder import quiet_transformers
from model.hvpnet.variants import ONLY_OBJECTS, TEXT_ONLY
from pipeline.corpus.post import Post
from pipeline.corpus.posts import load_posts
from pipeline.description.texts import StoredTexts
from pipeline.errors import DataError, SettingError
from pipeline.experiments.runs import TrainedRun
from pipeline.machine import pick_device
from pipeline.prediction.forward import Forward
from pipeline.prediction.stored import StoredPictures, open_pictures
from pipeline.training.head_of import HEADS
from pipeline.training.results import precision_of
from pipeline.training.saved import SavedModel


@dataclass(frozen=True)
class OpenRun:
    """A run that looks at pictures, ready to compute with.

    forward: its model, in the precision of its training.
    pictures: the stored pyramids and regions of its data set.
    texts: the texts of its pictures; None if it reads none.
    """

    forward: Forward
    pictures: StoredPictures
    texts: StoredTexts | None

    @classmethod
    def open(cls, run: TrainedRun, device: str) -> "OpenRun":
        """Load the model and open the store.

        Raises SettingError for a text-only run; DataError if the stored pyramids are of another
        kind than those that the run was trained on.
        """
        if run.files is None or run.metrics["config"]["variant"] == TEXT_ONLY:
            raise SettingError(
                f"{run.name}: expected a run that looks at pictures, found a text-only one; choose "
                "another variant"
            )
        quiet_transformers()
        saved = SavedModel.open(run.model)
        pictures = open_pictures(run.files, [saved])
        texts = None if run.texts is None else StoredTexts.open(run.texts)
        return cls(Forward(saved, precision_of(run.model), pick_device(device)), pictures, texts)

    @property
    def first(self) -> int:
        """The number of the first region that the model reads: 0, the picture, or 1, a crop."""
        return 1 if self.forward.saved.config.variant == ONLY_OBJECTS else 0

    def slots(self, number: int) -> list[int]:
        """Return the numbers of a post's regions that exist and that the model reads."""
        there = self.pictures.pyramids.there[number].tolist()
        return [slot for slot, exists in enumerate(there) if exists and slot >= self.first]


def held_out(run: TrainedRun) -> tuple[str, dict[int, Post]]:
    """Return the split to show, test or else val, and its labelled posts by number.

    The posts are those of the run's predictions, in the same order.
    """
    posts, head = load_posts(run.posts), HEADS[run.task]
    test = head.numbered(posts, "test")
    return ("test", test) if test else ("val", head.numbered(posts, "val"))


def with_ids(chosen: Sequence[str], posts: Collection[Post], where: str) -> list[int]:
    """Return the places of posts with the chosen ids. where: names the posts in the message.

    Raises DataError for an unknown id.
    """
    places = {post.id: place for place, post in enumerate(posts)}
    unknown = [name for name in chosen if name not in places]
    if unknown:
        example = next(iter(places), "none")
        raise DataError(
            f"expected ids of {where}, such as {example!r}, found {unknown[0]!r}; choose others"
        )
    return [places[name] for name in chosen]
