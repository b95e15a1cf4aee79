"""The command `hvpnet`: predict posts, pack models, export predictions to annotation tools."""

import errno
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn

import typer

from pipeline.engine.near import NearNames, described
from pipeline.errors import FAMILY, SettingError
from pipeline.machine import AUTO, DEVICES, PRECISIONS
from pipeline.prediction.annotate import LABEL_STUDIO, TOOLS

if TYPE_CHECKING:  # torch is imported only where it is used, so that --help is fast
    from pipeline.prediction.extractor import Extractor, Options
    from pipeline.prediction.prediction import Prediction

OURS = ("pipeline", "features", "model")
DASH = "-"  # standard input, standard output
Device = Enum("Device", {name: name for name in DEVICES}, type=str)  # type: ignore[misc]
Precision = Enum("Precision", {name: name for name in PRECISIONS}, type=str)  # type: ignore[misc]
Tool = Enum("Tool", {name: name for name in TOOLS}, type=str)  # type: ignore[misc]
BEST_DEVICE, FIRST_TOOL = Device(AUTO), Tool(LABEL_STUDIO)
app = typer.Typer(
    help="Entities and relations from posts with pictures.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
log = logging.getLogger(__name__)

BACKBONE = typer.Option(help="file of the backbone's weights, if it moved since training")
DESCRIBER = typer.Option(help="folder of a captioner, if it moved")
GROUNDER = typer.Option(help="file or folder of a learned grounder's weights, if it moved")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turn an error that the user can fix into one line on stderr and exit code 1."""
    try:
        yield
    except FAMILY as error:
        _end(str(error))
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except BrokenPipeError:  # the reader closed standard output, as `head` does
        _close_output()
        sys.exit(1)
    except OSError as error:
        if error.errno is None:  # not raised by the operating system
            raise
        if error.errno == errno.ENOSPC and error.filename is None:
            _close_output()
            error.filename = "standard output"
        where = f"{error.filename}: " if error.filename is not None else ""
        _end(f"{where}{os.strerror(error.errno)}")


def _end(message: str, code: int = 1) -> NoReturn:
    print(f"hvpnet: {message}", file=sys.stderr)
    sys.exit(code)


def _close_output() -> None:
    """Discard unwritten output: Python would try to write it at exit and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
@_errors_in_one_line()
def predict(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|POSTS",
            help="folders of one or two runs, or a packed folder; then a file of records, or - "
            "for standard input",
        ),
    ],
    text: Annotated[str | None, typer.Option(help="text of a single post")] = None,
    picture: Annotated[str | None, typer.Option(help="picture of that post")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write, one line per record")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print a single post's prediction as JSON")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="write an HTML page of the first 200 posts")
    ] = None,
    min_score: Annotated[
        float, typer.Option(help="leave out entities and relations that score less, 0 to 1")
    ] = 0.0,
    explain: Annotated[bool, typer.Option(help="add gates and attention to regions")] = False,
    strict: Annotated[
        bool, typer.Option(help="stop at a record or picture that cannot be used")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="posts in memory at once")] = 64,
    device: Annotated[Device, typer.Option()] = BEST_DEVICE,
    precision: Annotated[
        Precision | None,
        typer.Option(help="of ResNet and text encoder; default: that of the training"),
    ] = None,
    backbone: Annotated[Path | None, BACKBONE] = None,
    grounder: Annotated[Path | None, GROUNDER] = None,
    describer: Annotated[Path | None, DESCRIBER] = None,
) -> None:
    """Predict one post (--text, --picture), or a file of records, one JSON object a line."""
    models, posts = _sorted_out(names)
    if not models:
        raise typer.BadParameter("expected the folder of a model, found none")
    if (text is None) == (posts is None):
        raise typer.BadParameter(
            "expected one post (--text) or a file of records after the models (- for standard "
            f"input), found {'neither' if text is None else 'both'}"
        )
    if posts is not None and picture is not None:
        raise typer.BadParameter("--picture goes with --text; records name their own pictures")
    output = None if output == Path(DASH) else output
    _check_outputs({"--output": output, "--html": html}, [] if posts in (None, DASH) else [posts])
    from pipeline.prediction.extractor import Extractor, Options

    options = Options(batch_size, min_score, explain, strict)
    extractor = Extractor.load(
        *models,
        device=device.value,
        precision=precision and precision.value,
        backbone=backbone,
        grounder=grounder,
        describer=describer,
    )
    if posts is None:
        shown = [_one(extractor, {"text": text, "picture": picture}, options)]
        _write_one(shown[0], output, as_json)
    else:
        settings = [min_score, explain, precision and precision.value]
        shown = _many(extractor, posts, output, options, {"models": models, "options": settings})
    if html is not None:
        from pipeline.prediction.page import page

        html.write_text(page(shown), encoding="utf-8")


@app.command()
@_errors_in_one_line()
def pack(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN", help="folders of one or two runs")
    ] = None,
    *,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="the packed folder to write, or to check")
    ],
    with_grounder: Annotated[
        bool, typer.Option("--with-grounder", help="pack a learned grounder's weights too")
    ] = False,
    with_describer: Annotated[
        bool, typer.Option("--with-describer", help="pack a captioner's weights too")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="check that a packed folder is complete and loads")
    ] = False,
    backbone: Annotated[Path | None, BACKBONE] = None,
    grounder: Annotated[Path | None, GROUNDER] = None,
    describer: Annotated[Path | None, DESCRIBER] = None,
) -> None:
    """Pack runs with the files that they need into a folder that works without the store."""
    if bool(runs) == check:
        expected = (
            "only the packed folder" if check else "one or two runs, then the folder to write"
        )
        raise typer.BadParameter(
            f"expected {expected}, found {' '.join(map(str, [*(runs or ()), out]))}"
        )
    from pipeline.prediction import pack as packing
    from pipeline.prediction.extractor import Extractor
    from pipeline.prediction.runs import Files

    if not check:
        files = Files(backbone, grounder, describer)
        packing.pack(runs or [], out, files, with_grounder, with_describer)
    print("\n".join(packing.check_packed(out)), flush=True)
    Extractor.load(out, device="cpu", grounder=grounder, describer=describer)


@app.command()
@_errors_in_one_line()
def export(
    predictions: Annotated[Path, typer.Argument(help="a file that `hvpnet predict` wrote")],
    output: Annotated[Path, typer.Option("--output", "-o", help="file to import into the tool")],
    to: Annotated[Tool, typer.Option(help="the annotation tool")] = FIRST_TOOL,
) -> None:
    """Export predictions for correction in an annotation tool; ImportPosts reads the result."""
    from pipeline.prediction import annotate

    _check_outputs({"--output": output}, [str(predictions)])
    records = annotate.read_predictions(predictions)
    output.write_text(TOOLS[to.value](records), encoding="utf-8")
    if to.value == LABEL_STUDIO:
        print(annotate.interface(records), end="")
    log.info("%s: %d posts", output, len(records))


# --- the arguments


def _sorted_out(names: Sequence[str]) -> tuple[list[Path], str | None]:
    """Split the names into the models' folders and the file of records, if there is one."""
    others = [name for name in names if not os.path.isdir(name)]
    for name in others:
        if name != DASH and not os.path.exists(name):
            hint = described("", NearNames().hint(Path(name)))
            raise SettingError(f"{name}: expected a model's folder or a file, found nothing{hint}")
    if len(others) > 1:
        raise typer.BadParameter(f"expected one file of records, found {' '.join(others)}")
    return [Path(name) for name in names if name not in others], next(iter(others), None)


def _check_outputs(outputs: dict[str, Path | None], inputs: Sequence[str]) -> None:
    """Raise SettingError if an output file cannot be written, before anything is computed."""
    taken = [os.path.realpath(name) for name in inputs]
    for option, path in outputs.items():
        if path is None:
            continue
        if path.is_dir() or (path.exists() and not path.is_file()):
            kind = "a folder" if path.is_dir() else "a device or pipe"
            raise SettingError(f"{option} {path}: expected a file to write, found {kind}")
        if not path.parent.is_dir():
            raise SettingError(f"{option} {path}: expected its folder to exist, found none")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise SettingError(
                f"{option} {path}: no permission to write it; change its permissions or name "
                "another file"
            )
        if os.path.realpath(path) in taken:
            raise SettingError(
                f"{option} {path}: expected a separate file, found one that this command also "
                "reads or writes"
            )
        taken.append(os.path.realpath(path))


# --- the work


def _one(extractor: "Extractor", fields: dict[str, Any], options: "Options") -> "Prediction":
    from pipeline.prediction.extractor import read_all

    prediction = next(extractor.stream(read_all([fields]), options))
    if prediction.error is not None:
        raise SettingError(prediction.error)
    return prediction


def _write_one(prediction: "Prediction", output: Path | None, as_json: bool) -> None:
    from pipeline.prediction.bulk import as_line
    from pipeline.prediction.table import show

    if output is not None:
        output.write_bytes(as_line(prediction))
    elif as_json:
        _output().write(as_line(prediction))
    else:
        show(prediction)


def _many(
    extractor: "Extractor",
    posts: str,
    output: Path | None,
    options: "Options",
    key: dict[str, Any],
) -> "list[Prediction]":
    """Predict a file into `output` or to standard output. Returns the first predictions."""
    from pipeline.prediction.bulk import Input, Target, first_of, predict_file, predict_out
    from pipeline.prediction.page import MOST
    from pipeline.prediction.runs import digest_of

    source = Input.open(posts)
    if output is None:
        return _first(predict_out(extractor, source, _output(), options), MOST)
    key = {**key, "models": [digest_of(model) for model in key["models"]]}
    predict_file(extractor, source, Target(output.resolve(), key), options)
    return first_of(output, MOST)


def _first(predictions: "Iterable[Prediction]", most: int) -> "list[Prediction]":
    """Run through all predictions and return the first `most`."""
    return [prediction for number, prediction in enumerate(predictions) if number < most]


def _output() -> BinaryIO:
    """Return standard output as a binary stream. Raises SettingError if it is closed."""
    if sys.stdout is None:
        raise SettingError("expected standard output to write to, found it closed")
    return sys.stdout.buffer


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and log the messages of our own packages on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers, logger.propagate = [handler], False
    app(arguments)
