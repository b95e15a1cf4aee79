"""Names of the two styles, the paper's variants, and the relation heads. Imports nothing."""

PAPER, RELEASED = "paper", "released"
STYLES = (PAPER, RELEASED)  # the equations as written; the computation of the published code

HVPNET, FLAT, ONE_TO_THREE = "hvpnet", "flat", "1t3"
ONLY_OBJECTS, TEXT_ONLY = "only-objects", "text-only"
VARIANTS = (HVPNET, FLAT, ONE_TO_THREE, ONLY_OBJECTS, TEXT_ONLY)

# States that the relation classifier reads: of the two opening markers, or of [CLS].
AT_MARKERS, AT_CLS = "markers", "cls"
RELATION_HEADS = (AT_MARKERS, AT_CLS)
