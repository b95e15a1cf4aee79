"""Charts as SVG, drawn by matplotlib, which the extra `figures` installs."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pipeline.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hvpnet",  # the same data give the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_installed() -> None:
    """Raise SettingError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise SettingError(
            "figures need matplotlib, which is not installed; install it with: pip install "
            "'hvpnet-pipeline[figures]'"
        )


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the style of all charts."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def svg_of(figure: "Figure") -> str:
    """Return a figure as an SVG element, to be put into a page or a file."""
    file = io.StringIO()
    with drawing():
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
