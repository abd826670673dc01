"""From a function's signature and docstring to its command line, by jsonargparse."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentError, ArgumentParser

from smallbignet.data.options import VideoOptions
from smallbignet.errors import SmallBigError
from smallbignet.training.settings import (
    AUTO,
    TrainConfig,
    add_settings,
    auto_words,
    explain,
    load_recipe,
    read_settings,
    recipe_words,
)
from smallbignet.utils.console import console

DATA = "data"  # the group of a function's `VideoOptions`, the same as in a recipe: --data.root


def parse_call(function: Callable, prog: str, verb: Any, words: list[str]) -> tuple[dict[str, Any], bool]:
    """The arguments that a command line gives a function, and whether it asks for JSON.

    Positional parameters are words, of which a list takes one or more; keyword parameters are options. `VideoOptions` or a
    `DataSource` is a group of options. A `TrainConfig` is a recipe, named first, and all its settings.

    Raises:
        SmallBigError: the words don't fit.
    """
    hints = get_type_hints(function, include_extras=True)
    settings = next((name for name, hint in hints.items() if hint is TrainConfig), None)
    options = next((name for name, hint in hints.items() if _is_options(hint)), None)
    recipe = words[0] if settings and words and not words[0].startswith("-") else ""
    if recipe:
        words = [*([] if recipe == AUTO else recipe_words(recipe)), *words[1:]]
        hints |= get_type_hints(TrainConfig)
    if options:
        words = spell_out(words, hints[options])
        hints[DATA] = hints[options]
    parser = make_parser(function, prog, verb)
    try:
        values = parser.instantiate(parser.parse_args(words))
        if recipe == AUTO:
            values = parser.instantiate(parser.parse_args([*auto_words(read_settings(values)), *words]))
        config = read_settings(values) if settings and values.config else None
    except (ArgumentError, argparse.ArgumentError, TypeError, ValueError) as error:
        what = explain(error, parser, hints)
        raise SmallBigError(what, _wrong_recipe(recipe, what) or f"{prog} --help") from error
    except SmallBigError as error:
        where = ": ".join(filter(None, (_wrong_recipe(recipe, error.what), error.where)))
        raise SmallBigError(error.what, where or f"{prog} --help") from error
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == settings:
            if config is None:
                raise SmallBigError("name a recipe first, such as small, or a YAML file", f"{prog} --help lists them")
            arguments[name] = config
        elif name == options:
            arguments[name] = values[DATA]
        else:
            arguments[name] = values[_destination(parameter)]
    return arguments, values.json


def _wrong_recipe(recipe: str, what: str) -> str:
    """The recipe, if an error is its own; empty if the words after it are wrong, or there is none."""
    try:
        if recipe:
            load_recipe(recipe)
    except SmallBigError as error:
        return recipe if error.what == what else ""
    return ""


def make_parser(function: Callable, prog: str, verb: Any) -> ArgumentParser:
    """The parser of a function's command line, with its help."""
    docs = parse(function.__doc__ or "")
    helps = {doc.arg_name: doc.description or "" for doc in docs.params}
    hints = get_type_hints(function)
    summary = docs.short_description or verb.summary
    parser = ArgumentParser(prog=prog, description=summary, epilog=f"example: {verb.example}", exit_on_error=False)
    done: set[str | int] = set()
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        if hint is TrainConfig:
            parser.usage = f"{prog} RECIPE [--section.key value] ...\n\nexample: {verb.example}"  # and again after a long list
            add_settings(parser)
        elif _is_options(hint):
            parser.add_class_arguments(hint, DATA)
        elif _is_positional(parameter):
            how_many: dict[str, Any] = {"nargs": "+"} if get_origin(hint) is list else {}
            if parameter.default is not inspect.Parameter.empty:
                how_many = {"nargs": "*" if get_origin(hint) is list else "?", "default": parameter.default}
            parser.add_argument(_destination(parameter), type=str, help=helps.get(name, ""), **how_many)
        elif hint is bool:
            parser.add_argument(f"--{name}", action="store_true", help=helps.get(name, ""))
        else:
            continue
        done.add(name)
    parser.add_function_arguments(function, skip=done, as_group=False)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else on standard output")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def spell_out(words: list[str], options: type[VideoOptions]) -> list[str]:
    """The words with options of the data in full, --data.root; older scripts say --root."""
    short = {f"--{field.name}": f"--{DATA}.{field.name}" for field in fields(options)}
    names = [word.partition("=")[0] for word in words]
    if (old := [name for name in names if name in short]) and os.environ.get("RANK", "0") == "0":
        console.print(f"note: {', '.join(old)} still works, but is now written {', '.join(short[name] for name in old)}")
    return [word.replace(name, short.get(name, name), 1) for word, name in zip(words, names, strict=True)]


def _is_options(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, VideoOptions)


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


def _destination(parameter: inspect.Parameter) -> str:
    """The name of a parameter in the parser: positional ones in capitals, so that DATA does not clash with --data.*."""
    return parameter.name.upper() if _is_positional(parameter) else parameter.name
