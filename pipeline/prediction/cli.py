"""The command `hvpnet`: predict posts, pack models, hand predictions to annotation tools."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import FAMILY, SettingError
from pipeline.machine import DEVICES, PRECISIONS
from pipeline.prediction.annotate import TOOLS

if TYPE_CHECKING:  # torch is imported where there is work: --help answers at once
    from pipeline.prediction.extractor import Extractor, Options
    from pipeline.prediction.prediction import Prediction

OURS = ("pipeline", "features", "model")
Device = Enum("Device", {name: name for name in DEVICES}, type=str)  # type: ignore[misc]
Precision = Enum("Precision", {name: name for name in PRECISIONS}, type=str)  # type: ignore[misc]
Tool = Enum("Tool", {name: name for name in TOOLS}, type=str)  # type: ignore[misc]
app = typer.Typer(
    help="Entities and relations from posts with pictures.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
log = logging.getLogger(__name__)

BACKBONE = typer.Option(help="the backbone's weights, where they lie elsewhere than at training")
GROUNDER = typer.Option(help="a learned grounder's weights, where they lie elsewhere")


@app.command()
def predict(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... [POSTS]",
            help="folders of runs, or a packed one; then a file of records, or - (standard input)",
        ),
    ],
    text: Annotated[str | None, typer.Option(help="one post's text")] = None,
    picture: Annotated[str | None, typer.Option(help="its picture")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file of predictions, a line a record")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the record of one post")] = False,
    html: Annotated[Path | None, typer.Option(help="write a page of the (first 200) posts")] = None,
    min_score: Annotated[float, typer.Option(help="leave out what scores less, 0 to 1")] = 0.0,
    explain: Annotated[bool, typer.Option(help="add gates and attention to regions")] = False,
    strict: Annotated[
        bool, typer.Option(help="end at a record or picture that cannot be used")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="posts in memory at once")] = 64,
    device: Annotated[Device, typer.Option()] = Device("auto"),
    precision: Annotated[
        Precision | None, typer.Option(help="of all that is computed; default: the training's")
    ] = None,
    backbone: Annotated[Path | None, BACKBONE] = None,
    grounder: Annotated[Path | None, GROUNDER] = None,
) -> None:
    """Predict one post (--text, --picture), or a file of records, one JSON object a line."""
    models, posts = _sorted_out(names)
    if (text is None) == (posts is None):
        raise SettingError(
            "expected one post (--text, --picture) or a file of records behind the models "
            f"(- for standard input), found {'neither' if text is None else 'both'}"
        )
    if posts is not None and picture is not None:
        raise SettingError("--picture goes with --text; records name their own pictures")
    from pipeline.prediction.extractor import Extractor, Options

    options = Options(batch_size, min_score, explain, strict)
    extractor = Extractor.load(
        *models,
        device=device.value,
        precision=precision and precision.value,
        backbone=backbone,
        grounder=grounder,
    )
    if posts is None:
        fields = {"text": text} | ({} if picture is None else {"picture": picture})
        _one(extractor, fields, options, output, as_json, html)
        return
    key = {
        "models": [_name(Path(model)) for model in models],
        "options": [min_score, explain, precision and precision.value],
    }
    _many(_records(extractor, posts, output, key, options), html)


@app.command()
def pack(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN... OUT", help="runs, and the folder to make")
    ],
    with_grounder: Annotated[
        bool, typer.Option("--with-grounder", help="pack a learned grounder's weights too")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="look at a packed folder: is it whole, does it load")
    ] = False,
    backbone: Annotated[Path | None, BACKBONE] = None,
    grounder: Annotated[Path | None, GROUNDER] = None,
) -> None:
    """Write runs and all that they need into one folder, which needs no store and no network."""
    from pipeline.prediction import pack as packing
    from pipeline.prediction.extractor import Extractor
    from pipeline.prediction.runs import Files

    if check:
        for folder in folders:
            print("\n".join(packing.check_packed(folder)), flush=True)
            Extractor.load(folder)
        return
    if len(folders) < 2:
        raise SettingError("expected one run or two and the folder to make: RUN... OUT")
    *runs, out = folders
    packing.pack(runs, out, Files(backbone, grounder), with_grounder)
    print("\n".join(packing.check_packed(out)))


@app.command()
def export(
    predictions: Annotated[Path, typer.Argument(help="a file that `hvpnet predict` wrote")],
    output: Annotated[Path, typer.Option("--output", "-o", help="file to import into the tool")],
    to: Annotated[Tool, typer.Option(help="the annotation tool")] = Tool("label-studio"),
) -> None:
    """Hand predictions to an annotation tool, to be corrected; ImportPosts reads them back."""
    from pipeline.prediction import annotate

    records = annotate.read_predictions(predictions)
    output.write_text(annotate.TOOLS[to.value](records), encoding="utf-8")
    if to.value == "label-studio":
        print(annotate.interface(records), end="")
    log.info("%s: %d posts", output, len(records))


def _sorted_out(names: list[str]) -> tuple[list[str], str | None]:
    """The models' folders, and the file of records behind them, if there is one."""
    models = [name for name in names if Path(name).is_dir()]
    others = [name for name in names if not Path(name).is_dir()]
    missing = [name for name in others if name != "-" and not Path(name).is_file()]
    if missing:
        raise SettingError(f"{missing[0]}: expected a model's folder or a file, found nothing")
    if len(others) > 1:
        raise SettingError(f"expected one file of records, found {', '.join(others)}")
    return models, next(iter(others), None)


def _name(folder: Path) -> str:
    """A model's folder, and when its weights were written."""
    weights = sorted(folder.rglob("model.safetensors"))
    times = [f"{file.stat().st_size}.{file.stat().st_mtime_ns}" for file in weights]
    return " ".join([str(folder.resolve()), *times])


def _one(
    extractor: "Extractor",
    fields: dict[str, Any],
    options: "Options",
    output: Path | None,
    as_json: bool,
    html: Path | None,
) -> None:
    from pipeline.prediction.extractor import read_all
    from pipeline.prediction.table import show

    prediction = next(extractor.stream(read_all([fields]), options))
    if prediction.error is not None:
        raise SettingError(prediction.error)
    if output is not None:
        output.write_text(f"{prediction.to_json()}\n", encoding="utf-8")
    elif as_json:
        print(prediction.to_json())
    else:
        show(prediction)
    _write_page([prediction], html)


def _records(
    extractor: "Extractor", posts: str, output: Path | None, key: dict[str, Any], options: "Options"
) -> "Iterator[Prediction]":
    """Predict a file, into another file or to standard output; each prediction is given too."""
    from pipeline.prediction.bulk import STDIN, Input, Tally, Target, predict_file, predict_lines

    path, base = (STDIN, Path()) if posts == "-" else (Path(posts), Path(posts).parent)
    stream = sys.stdin.buffer if posts == "-" else path.open("rb")
    source = Input(stream, path)
    if output is not None:
        yield from predict_file(extractor, source, Target(output, key), base, options)
        return
    tally = Tally(None)
    for prediction, _ in predict_lines(extractor, source, base, options):
        print(prediction.to_json(), flush=True)
        tally.add(prediction)
        yield prediction
    tally.close()


def _many(predictions: "Iterable[Prediction]", html: Path | None) -> None:
    from pipeline.prediction.page import MOST

    shown: list[Prediction] = []
    for prediction in predictions:
        if html is not None and len(shown) < MOST:
            shown.append(prediction)
    _write_page(shown, html)


def _write_page(predictions: "list[Prediction]", html: Path | None) -> None:
    if html is not None:
        from pipeline.prediction.page import page

        html.write_text(page(predictions), encoding="utf-8")


def run() -> None:
    """Run the command; a fault that people can mend is one line and exit code 1."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers, logger.propagate = [handler], False
    try:
        app()
    except BrokenPipeError:  # the reader of standard output has ended, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except FAMILY as error:
        print(f"hvpnet: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"hvpnet: {where}{os.strerror(error.errno)}", file=sys.stderr)
        sys.exit(1)
