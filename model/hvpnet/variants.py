"""The two styles and the paper's variants, by the names that people type. Imports nothing."""

PAPER, RELEASED = "paper", "released"
STYLES = (PAPER, RELEASED)  # as the equations are written; as the published code computes

HVPNET, FLAT, ONE_TO_THREE = "hvpnet", "flat", "1t3"
ONLY_OBJECTS, TEXT_ONLY = "only-objects", "text-only"
VARIANTS = (HVPNET, FLAT, ONE_TO_THREE, ONLY_OBJECTS, TEXT_ONLY)

# Which states the relation classifier reads: those of the two opening markers, or of [CLS].
AT_MARKERS, AT_CLS = "markers", "cls"
RELATION_HEADS = (AT_MARKERS, AT_CLS)
