"""Settings for reading the user's own posts."""

from dataclasses import dataclass

from pipeline.corpus.post import SPLITS
from pipeline.errors import SettingError

LEFT_OUT, AS_NONE = "left-out", "none"  # for pairs of entities without a relation
PAIRS = (LEFT_OUT, AS_NONE)

EASY, HARD = "easy", "hard"  # difficulties of the demo


@dataclass(frozen=True)
class ReadConfig:
    """Settings for reading the user's own posts. Published data sets need none."""

    split: tuple[int, ...] = (80, 10, 10)  # shares of train, val, test for posts without a split
    split_seed: int = 0
    unlabelled_pairs: str = LEFT_OUT
    none_label: str | None = None  # the data's own name for "no relation"

    def __post_init__(self) -> None:
        if len(self.split) != len(SPLITS) or min(self.split) < 0 or not any(self.split):
            shares = ",".join(map(str, self.split))
            raise SettingError(
                "--split: expected shares of train, val and test such as 80,10,10, "
                f"found {shares!r}"
            )


DEFAULT = ReadConfig()
