"""Check the command line before Luigi reads it: report an error in one line, with exit code 2.

Luigi itself prints its full usage for a wrong option, and a traceback for a wrong value.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NoReturn

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.configuration import get_config
from luigi.parameter import _no_value
from luigi.task_register import Register

WRONG = 2  # the exit code, as in argparse
_SLIP = 0.88  # similarity from which a section's name counts as a typing error for one of ours
# Expected value by class of parameter; a subclass comes before its base.
_EXPECTED = (
    (luigi.BoolParameter, "true or false"),
    (luigi.IntParameter, "a whole number"),
    (luigi.FloatParameter, "a number"),
)


def check(arguments: Sequence[str], module: str) -> None:
    """Exit with one line on stderr unless Luigi can run the command. Also checks luigi.cfg.

    arguments: the words after `luigi`.
    module: name of the calling module; commands without `--module` of this name are not checked.

    Luigi's own parser does the parsing: only it knows all options.
    """
    named = pairwise(arguments)
    if ("--module", module) not in named and f"--module={module}" not in arguments:
        return
    task = _parsed(arguments, None)[0].root_task
    parsed, rest = _parsed(arguments, task)
    if parsed.core_help or parsed.core_help_all:
        return
    names = [n for n, kind in _sections().items() if not issubclass(kind, luigi.Config)]
    every = f"; the tasks are {', '.join(names)}"
    if task is None:
        _refuse(f"expected a task, found none{every}")
    if task not in Register.task_names():
        _refuse(f"no task {task}{_nearest(task, names) or every}")
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("--"):
            _refuse(f"{task} has no option {option}{_nearest_option(option, task)}")
        _refuse(f"expected an option, found {word!r}; write a value after its option")
    for option, parameter, value in _values_given(parsed, task):
        _check_value(f"--{option}", parameter, value)
    _check_configuration()
    _check_given(parsed, task)


def is_given(task: type[luigi.Task], name: str) -> bool:
    """Return True if a task's parameter is set in luigi.cfg or, as `--TASK-NAME`, by an option."""
    parameter = dict(task.get_params())[name]
    *sources, _ = parameter._value_iterator(task.get_task_family(), name)  # the last: its default
    return any(value != _no_value for value, _ in sources)


def _parsed(arguments: Sequence[str], task: str | None) -> tuple[argparse.Namespace, list[str]]:
    parser = CmdlineParser._build_parser(root_task=task)
    parser.error = _refuse
    return parser.parse_known_args(list(arguments))


def _sections() -> dict[str, type[luigi.Task]]:
    """Return our tasks and `paths` by the names of their sections in luigi.cfg."""
    kinds = {name: Register.get_task_cls(name) for name in Register.task_names()}
    return {n: kind for n, kind in kinds.items() if not kind.__module__.startswith("luigi.")}


def _nearest_option(option: str, task: str) -> str:
    """Suggest another task's option of that name, else the most similar of this task or of all."""
    own, others = [], []
    for name, bare, parameter, _ in Register.get_all_params():
        if name == task:
            own.append(f"--{parameter}".replace("_", "-"))
        others.append(f"--{parameter if bare else f'{name}_{parameter}'}".replace("_", "-"))
    same = [other for other in others if other.endswith(option[1:])]
    if same:
        return f"; did you mean {' or '.join(same)}?"
    return _nearest(option, own) or _nearest(option, others)


def _values_given(
    parsed: argparse.Namespace, task: str
) -> Iterator[tuple[str, luigi.Parameter, str]]:
    """Yield the name, the parameter and the typed value of each option on the command line."""
    for name, bare, parameter, kind in Register.get_all_params():
        dests = {kind._parser_global_dest(parameter, name): f"{name}_{parameter}"}
        if name == task or bare:
            dests[parameter] = parameter
        for dest, option in dests.items():
            value = getattr(parsed, dest, None)
            if isinstance(value, str):
                yield option.replace("_", "-"), kind, value


def _check_given(parsed: argparse.Namespace, task: str) -> None:
    """Refuse a task without a value for an option that has no default, here or in luigi.cfg."""
    missing = []
    for name, _, parameter, kind in Register.get_all_params():
        typed = (parameter, kind._parser_global_dest(parameter, name))
        if name != task or any(getattr(parsed, dest, None) is not None for dest in typed):
            continue
        if not kind.has_task_value(name, parameter):
            missing.append(f"--{parameter.replace('_', '-')}")
    if missing:
        _refuse(f"{task} needs {' and '.join(missing)}")


def _check_configuration() -> None:
    """Check names and values in luigi.cfg, in any of the files that Luigi reads."""
    config = get_config()
    names = {name.casefold(): name for name in _sections()}
    for section in config.sections():
        near = get_close_matches(section.casefold(), names, n=1, cutoff=_SLIP)
        if section not in names.values() and near:
            _refuse(f"luigi.cfg: no section [{section}]; did you mean [{names[near[0]]}]?")
    for section, kind in _sections().items():
        parameters = dict(kind.get_params())
        for key, value in config.items(section, raw=True) if config.has_section(section) else ():
            if key not in parameters:
                _refuse(f"luigi.cfg, [{section}]: no option {key}{_nearest(key, parameters)}")
            _check_value(f"luigi.cfg, [{section}] {key}", parameters[key], value)


def _check_value(option: str, parameter: Any, text: str) -> None:
    try:
        parameter.normalize(parameter.parse(text))
    except ValueError as error:
        choices = getattr(parameter, "_choices", None)
        if choices is not None:
            expected = f"one of {', '.join(sorted(map(str, choices)))}"
            _refuse(f"{option}: expected {expected}, found {text!r}{_nearest(text, choices)}")
        for kind, expected in _EXPECTED:
            if isinstance(parameter, kind):
                _refuse(f"{option}: expected {expected}, found {text!r}")
        _refuse(str(error) if str(error).startswith(option) else f"{option}: {error}")


def _nearest(word: str, words: Iterable[str]) -> str:
    """Suggest the words most similar to a wrong one; "" if none is similar."""
    near = get_close_matches(word, dict.fromkeys(map(str, words)), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    sys.exit(WRONG)
