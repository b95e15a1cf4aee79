"""The heads of the two tasks, by name."""

from pipeline.training.entities import Entities
from pipeline.training.heads import Head
from pipeline.training.relations import Relations

HEADS: dict[str, Head] = {head.name: head for head in (Relations(), Entities())}
