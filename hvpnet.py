"""Entities and relations from posts with pictures: the public Python API, and `hvpnet`.

    from hvpnet import Extractor
    extractor = Extractor.load("store/TrainNER/demo-…", "store/TrainRE/demo-…")
    extractor.predict("Jordan and Austin tonight !", picture="17.jpg")
    for prediction in extractor.predict(records, batch_size=32): ...

docs/predict.md explains both. Importing this module loads nothing heavy.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.prediction.extractor import Extractor
    from pipeline.prediction.prediction import Entity, Prediction, Relation

__all__ = ["Entity", "Extractor", "Prediction", "Relation"]

_PACKAGES = ("features", "model", "pipeline")
_HOMES = {
    "Extractor": "pipeline.prediction.extractor",
    "Prediction": "pipeline.prediction.prediction",
    "Entity": "pipeline.prediction.prediction",
    "Relation": "pipeline.prediction.prediction",
}


def _check_packages() -> None:
    """Raise ImportError if Python would import another package under one of our names."""
    home = Path(__file__).resolve().parent
    for name in _PACKAGES:
        spec = find_spec(name)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        place = next((Path(path).resolve() for path in places if path is not None), None)
        if place not in (home / name / "__init__.py", home / name):
            raise ImportError(
                f"expected the package {name} in {home / name}, found {place or 'none'}, which "
                "comes first on Python's path; start Python elsewhere, or rename that package"
            )


try:
    _check_packages()
except ImportError as error:
    if Path(sys.argv[0]).stem == "hvpnet":  # the console script: one line, no traceback
        sys.exit(f"hvpnet: {error}")
    raise


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def main() -> None:
    """Run the console script `hvpnet`."""
    from pipeline.prediction.cli import run

    run()


if __name__ == "__main__":
    main()
