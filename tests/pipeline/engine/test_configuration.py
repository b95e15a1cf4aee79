"""luigi.cfg: paths with any character, and errors about settings that cannot be read."""

import sys
from pathlib import Path

import pytest
from luigi.configuration import LuigiConfigParser, get_config

from pipeline.engine.configuration import read_own
from pipeline.errors import SettingError
from tests.members import FIRST, SECOND, group_folder, member, only_root


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an empty configuration."""
    monkeypatch.setattr(LuigiConfigParser, "_instance", None)
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def checkout(folder: Path, text: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "luigi.cfg").write_text(text, encoding="utf-8")
    return folder


def paths_read() -> list[str]:
    return [get_config().get("paths", name) for name in ("data", "store")]


NAMES = ["100%", "50% off", "a%%b", "50%(half)", "%", "%d", "it's", 'a "b"', "fête", "a $b", "1\n2"]


@pytest.mark.parametrize("name", NAMES)
def test_the_project_works_in_any_folder(name: str, working: Path) -> None:
    home = checkout(working / name / "project")
    read_own(home)
    assert paths_read() == [str(home / "data"), str(home / "store")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("50% off", "50% off"),
        ("100%", "100%"),
        ("100%/x", "100%/x"),
        ("a%%b", "a%b"),  # as configparser escapes it
        ("50%(half)", "50%(half)"),
        ("%(base)s/50% off", "/base/50% off"),
        ("${HERE}/50% off", "/here/50% off"),
        ("fête's", "fête's"),
    ],
)
def test_a_per_cent_sign_is_literal(
    written: str, meant: str, working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "/here")
    home = checkout(working / "project")
    section = f"base = /base\ndata = {written}\nstore = {written}/store\n"
    (working / "luigi.cfg").write_text(
        f"[paths]\n{section}[Other]\nweights = {written}\n", encoding="utf-8"
    )
    if "base" in written:
        (working / "luigi.cfg").write_text(f"[DEFAULT]\nbase = /base\n[paths]\n{section}")
    read_own(home)
    assert paths_read() == [str(home / meant), str(home / meant / "store")]
    if "base" not in written:
        assert get_config().get("Other", "weights") == meant


@pytest.mark.parametrize("value", ["/50%(none)s/data", "/${NO_SUCH_VARIABLE}/data"])
def test_a_setting_that_cannot_be_read_is_a_one_line_error(
    value: str, working: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = checkout(working / "project")
    (working / "luigi.cfg").write_text(f"[paths]\nstore = /store\n[Other]\nweights = {value}\n")
    start = f"{working / 'luigi.cfg'}, [Other] weights: {value!r} refers to"
    monkeypatch.delitem(sys.modules, "luigi.cmdline", raising=False)
    with pytest.raises(SettingError) as caught:
        read_own(home)
    assert str(caught.value).startswith(start)
    monkeypatch.setitem(sys.modules, "luigi.cmdline", sys)
    with pytest.raises(SystemExit) as ended:
        read_own(home)
    assert ended.value.code == 40
    printed = capsys.readouterr().err
    assert printed.startswith(start)
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ('"/some/data"', 'found "/some/data", whose quotes are part of the path; remove them'),
        ("'some data'", "found 'some data', whose quotes are part of the path; remove them"),
        ("", "found nothing; give a folder or remove the line"),
        ("$HOME/data", "found '$HOME/data'; write ~ for the home folder, ${NAME} for a variable"),
    ],
)
def test_a_quoted_empty_or_unexpanded_path_is_refused(
    written: str, advice: str, working: Path
) -> None:
    home = checkout(working / "project")
    (working / "luigi.cfg").write_text(f"[paths]\ndata = data\nstore = {written}\n")
    with pytest.raises(SettingError) as caught:
        read_own(home)
    file = working / "luigi.cfg"
    assert str(caught.value) == f"{file}, [paths] store: expected a folder, {advice}"
    if written:
        (home / written).mkdir(parents=True)  # an existing folder is accepted
        get_config().reload()
        read_own(home)


@only_root
def test_a_configuration_without_read_permission_is_an_error(
    working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = checkout(working / "project")
    with group_folder() as folder:
        monkeypatch.chdir(folder)
        with member(FIRST, umask=0o077):
            (folder / "luigi.cfg").write_text("[paths]\n")
        with (
            member(SECOND, umask=0o002),
            pytest.raises(SettingError, match=r"luigi.cfg: may not be read: permission denied"),
        ):
            read_own(home)
