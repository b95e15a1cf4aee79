"""A trained run with its model loaded and its stored pictures open."""

from dataclasses import dataclass

from model.encoder import quiet_transformers
from model.hvpnet.variants import HVPNET, ONLY_OBJECTS, TEXT_ONLY
from pipeline.description.texts import StoredTexts
from pipeline.errors import SettingError
from pipeline.experiments.runs import TrainedRun
from pipeline.machine import pick_device
from pipeline.prediction.forward import Forward
from pipeline.prediction.stored import StoredPictures, open_pictures
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
            kind = "a text-only one; choose another variant"
            if run.system != HVPNET:
                kind = f"one of system {run.system}, which reads text alone; choose another run"
            raise SettingError(f"{run.name}: expected a run that looks at pictures, found {kind}")
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
