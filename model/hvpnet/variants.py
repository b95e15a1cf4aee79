"""Names of styles, variants and relation heads, and the number of blocks. Imports nothing."""

PAPER, RELEASED = "paper", "released"
STYLES = (PAPER, RELEASED)  # the equations as written; the computation of the published code

HVPNET, FLAT, ONE_TO_THREE = "hvpnet", "flat", "1t3"
ONLY_OBJECTS, TEXT_ONLY = "only-objects", "text-only"
VARIANTS = (HVPNET, FLAT, ONE_TO_THREE, ONLY_OBJECTS, TEXT_ONLY)

# States that the relation classifier reads: of the two opening markers, or of [CLS].
AT_MARKERS, AT_CLS = "markers", "cls"
RELATION_HEADS = (AT_MARKERS, AT_CLS)

BLOCKS = 4  # of a ResNet
