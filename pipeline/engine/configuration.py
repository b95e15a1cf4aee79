"""Read the project's own luigi.cfg from any folder, and allow any character in its paths."""

import os
import re
import sys
from collections.abc import Iterator
from configparser import Error, InterpolationError, InterpolationSyntaxError, RawConfigParser
from contextlib import contextmanager
from pathlib import Path

from luigi.configuration import LuigiConfigParser, get_config

import pipeline
from pipeline.errors import FAMILY, SettingError

# Group 1 is what configparser interprets: an escaped per cent sign, or a reference to an option.
_REFERENCE = re.compile(r"(%%|%\([^)]+\)s)|%")


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """On Luigi's command line, print an error that the user can fix and exit, without a traceback.

    The exit code is Luigi's for an exception. Elsewhere the error is raised.
    """
    try:
        yield
    except FAMILY as error:
        if "luigi.cmdline" not in sys.modules:
            raise
        print(error, file=sys.stderr, flush=True)
        sys.exit(int(get_config().get("retcode", "unhandled_exception", raw=True)))


@errors_in_one_line()
def read_own(checkout: Path) -> None:
    """Read the luigi.cfg that comes with the package; one in the current folder overrides it.

    Relative paths in it are relative to the checkout or, if the package was installed without one,
    to the current folder. Raises SettingError for a setting that cannot be read.

    checkout: the folder to look for luigi.cfg in.
    """
    config = get_config()
    packaged = str(Path(pipeline.__path__[0]) / "luigi.cfg")
    files = [packaged, *config._config_paths]
    for file in filter(os.path.exists, files):
        _check_readable(file)
    config.read([packaged])
    type(config).reload()
    for section, option in list(_with_references(config)):
        _make_readable(config, section, option, files)
    home = checkout if (checkout / "luigi.cfg").exists() else Path.cwd()
    for name in ("data", "store"):
        _check_path(config, name, home, files)
        path = home / Path(config.get("paths", name)).expanduser()
        config.set("paths", name, str(path).replace("%", "%%"))
        _make_readable(config, "paths", name, files)


def _check_path(config: LuigiConfigParser, name: str, home: Path, files: list[str]) -> None:
    """Raise SettingError for a path that is empty, in quotes, or begins with $NAME.

    Otherwise the store would be made in a folder of that literal name.
    """
    written = config.get("paths", name)
    if written and os.path.lexists(home / written):
        return
    if not written:
        advice = "found nothing; give a folder or remove the line"
    elif len(written) > 1 and written[0] in "\"'" and written[0] == written[-1]:
        advice = f"found {written}, whose quotes are part of the path; remove them"
    elif re.match(r"\$\w", written):
        advice = f"found {written!r}; write ~ for the home folder, ${{NAME}} for a variable"
    else:
        return
    raw = config.get("paths", name, raw=True)
    raise SettingError(
        f"{_file_of('paths', name, raw, files)}, [paths] {name}: expected a folder, {advice}"
    )


def _check_readable(file: str) -> None:
    """Raise SettingError for a file without read permission: configparser would skip it."""
    try:
        with open(file, "rb"):
            pass
    except PermissionError as error:
        raise SettingError(
            f"{Path(file).absolute()}: may not be read: permission denied; ask its owner for "
            "permission (chmod +r), or start the command in another folder"
        ) from error


def _with_references(config: LuigiConfigParser) -> Iterator[tuple[str, str]]:
    """Yield section and option of each value that configparser would change as it reads it."""
    for section in config.sections():
        for option, value in config.items(section, raw=True):
            if "%" in value or "${" in value:
                yield section, option


def _make_readable(config: LuigiConfigParser, section: str, option: str, files: list[str]) -> None:
    """Escape the per cent signs that don't begin a reference. Raises SettingError."""
    raw = config.get(section, option, raw=True)
    try:
        try:
            config.get(section, option)
        except InterpolationSyntaxError:
            escaped = _REFERENCE.sub(lambda sign: sign[1] or "%%", raw)
            config.set(section, option, escaped)
            config.get(section, option)
    except InterpolationError as error:
        raise SettingError(
            f"{_file_of(section, option, raw, files)}, [{section}] {option}: {raw!r} refers to an "
            "option or variable that does not exist; write %% for a literal per cent sign, and "
            "give a path that contains ${ on the command line"
        ) from error


def _file_of(section: str, option: str, raw: str, files: list[str]) -> str:
    """Return the file that sets a value: the last one that contains it."""
    source = "luigi.cfg"
    for file in filter(os.path.exists, files):
        parser = RawConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        try:
            parser.read(file)
        except Error:  # Luigi has reported it
            continue
        if parser.get(section, option, fallback=None) == raw:
            source = str(Path(file).absolute())
    return source
