"""The project's own luigi.cfg, wherever Luigi is started, and paths with any character in it."""

import os
import re
import sys
from collections.abc import Iterator
from configparser import Error, InterpolationError, InterpolationSyntaxError, RawConfigParser
from pathlib import Path

from luigi.configuration import LuigiConfigParser, get_config

import pipeline
from pipeline.errors import SettingError

# What configparser reads as more than itself: an escaped sign, or another option's value.
_REFERENCE = re.compile(r"(%%|%\([^)]+\)s)|%")


def read_own(checkout: Path) -> None:
    """Read the luigi.cfg that travels with the package; one in the present folder wins over it.

    Its relative paths are relative to the checkout that it lies in, or, where the package was
    installed without one, to the present folder. checkout: the folder to look for it in. A setting
    that cannot be read raises SettingError; on Luigi's command line it is one line, and the exit
    code of an exception.
    """
    config = get_config()
    try:
        _read(config, checkout)
    except SettingError as error:
        if "luigi.cmdline" not in sys.modules:
            raise
        print(error, file=sys.stderr, flush=True)
        sys.exit(int(config.get("retcode", "unhandled_exception", raw=True)))


def _read(config: LuigiConfigParser, checkout: Path) -> None:
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
    """Raise SettingError for a path that means another one: in quotes, empty, with $NAME in it.

    The store would be made under such a name, in the project's folder.
    """
    written = config.get("paths", name)
    if written and os.path.lexists(home / written):
        return
    if not written:
        advice = "found nothing; give a folder, or leave the line out"
    elif len(written) > 1 and written[0] in "\"'" and written[0] == written[-1]:
        advice = f"found {written}, whose quotes are part of the path; leave them out"
    elif re.match(r"\$\w", written):
        advice = f"found {written!r}; write ~ for the home folder, ${{NAME}} for a variable"
    else:
        return
    raw = config.get("paths", name, raw=True)
    raise SettingError(
        f"{_file_of('paths', name, raw, files)}, [paths] {name}: expected a folder, {advice}"
    )


def _check_readable(file: str) -> None:
    """Raise SettingError for a file that may not be read: configparser passes it over."""
    try:
        with open(file, "rb"):
            pass
    except PermissionError as error:
        raise SettingError(
            f"{Path(file).absolute()}: may not be read: permission denied; ask its owner for the "
            "right (chmod +r), or start the command in another folder"
        ) from error


def _with_references(config: LuigiConfigParser) -> Iterator[tuple[str, str]]:
    """Section and option of each value that configparser would change as it reads it."""
    for section in config.sections():
        for option, value in config.items(section, raw=True):
            if "%" in value or "${" in value:
                yield section, option


def _make_readable(config: LuigiConfigParser, section: str, option: str, files: list[str]) -> None:
    """Let a per cent sign that begins no reference stand for itself. Raises SettingError."""
    raw = config.get(section, option, raw=True)
    try:
        try:
            config.get(section, option)
        except InterpolationSyntaxError:
            literal = _REFERENCE.sub(lambda sign: sign[1] or "%%", raw)
            config.set(section, option, literal)
            config.get(section, option)
    except InterpolationError as error:
        raise SettingError(
            f"{_file_of(section, option, raw, files)}, [{section}] {option}: {raw!r} refers to an "
            "option or variable that is not there; write %% for a per cent sign that stands for "
            "itself, and give a path with ${ in it on the command line"
        ) from error


def _file_of(section: str, option: str, raw: str, files: list[str]) -> str:
    """The file that a value is from: the last one that holds it."""
    holding = "luigi.cfg"
    for file in filter(os.path.exists, files):
        parser = RawConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        try:
            parser.read(file)
        except Error:  # Luigi has complained of it
            continue
        if parser.get(section, option, fallback=None) == raw:
            holding = str(Path(file).absolute())
    return holding
