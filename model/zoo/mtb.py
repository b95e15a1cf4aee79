"""MTB: entity-marker BERT (Soares et al., Matching the Blanks, ACL 2019), as a baseline.

The architecture alone: its pre-training on pairs of sentences with blanks is not done, as in every
table that cites it for MNRE. In the form of OpenNRE, the likely baseline: a linear map without
activation between the joined states of both opening markers and the classifier.
"""

from torch import Tensor, nn

from model.config import ExtractorConfig
from model.encoder import TextEncoder
from model.groups import ParameterGroup


class MTB(TextEncoder):
    """BERT with markers around head and tail, and one more linear map."""

    tasks = ("re",)
    reads_pictures = False
    markers = ("[unused0]", "[unused1]", "[unused2]", "[unused3]")

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.transform = nn.Linear(self.pair_width, self.pair_width)

    def pair(self, states: Tensor, markers: Tensor) -> Tensor:
        """Return the mapped states of both opening markers (B, 2H)."""
        mapped: Tensor = self.transform(super().pair(states, markers))
        return mapped

    def parameter_groups(self) -> list[ParameterGroup]:
        return [*super().parameter_groups(), ParameterGroup("base", [self.transform])]
