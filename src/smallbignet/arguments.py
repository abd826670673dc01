"""From a function's signature and docstring to its command line, by jsonargparse."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any, get_origin, get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentError, ArgumentParser

from smallbignet.errors import SmallBigError
from smallbignet.training.settings import TrainConfig, add_settings, explain, read_settings, recipe_words


def parse_call(function: Callable, prog: str, verb: Any, words: list[str]) -> tuple[dict[str, Any], bool]:
    """The arguments that a command line gives a function, and whether it asks for JSON.

    Positional parameters are words, of which lists take one or more; keyword parameters are options. A `TrainConfig`
    is a recipe, named first, and all its settings.

    Raises:
        SmallBigError: the words don't fit.
    """
    docs = {doc.arg_name: doc.description or "" for doc in parse(function.__doc__ or "").params}
    parser = make_parser(function, prog, verb, docs)
    has_recipe = any(hint is TrainConfig for hint in get_type_hints(function).values())
    if has_recipe and words and not words[0].startswith("-"):
        words = [*recipe_words(words[0]), *words[1:]]
    try:
        values = parser.instantiate(parser.parse_args(words))
    except (ArgumentError, argparse.ArgumentError, TypeError, ValueError) as error:
        raise SmallBigError(explain(error, parser), f"{prog} --help") from error
    arguments = {name: getattr(values, name) for name in inspect.signature(function).parameters if hasattr(values, name)}
    if has_recipe:
        if values.config is None:
            raise SmallBigError("name a recipe first, such as small, or a YAML file", f"{prog} --help lists them")
        arguments["config"] = read_settings(values)
    return arguments, values.json


def make_parser(function: Callable, prog: str, verb: Any, docs: dict[str, str]) -> ArgumentParser:
    """The parser of a function's command line, with its help."""
    summary = parse(function.__doc__ or "").short_description or verb.summary
    parser = ArgumentParser(prog=prog, description=summary, epilog=f"example: {verb.example}", exit_on_error=False)
    done: set[str | int] = {"config"}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = get_type_hints(function)[name]
        if hint is TrainConfig:
            parser.usage = f"{prog} RECIPE [--section.key value] ...\n\nexample: {verb.example}"  # and below a long list
            add_settings(parser)
        elif parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            count: dict[str, Any] = {"nargs": "+"} if get_origin(hint) is list else {}
            if parameter.default is not inspect.Parameter.empty:
                count = {"nargs": "*" if get_origin(hint) is list else "?", "default": parameter.default}
            parser.add_argument(name, type=str, metavar=name.upper(), help=docs.get(name, ""), **count)
            done.add(name)
        elif hint is bool:
            parser.add_argument(f"--{name}", action="store_true", help=docs.get(name, ""))
            done.add(name)
    parser.add_function_arguments(function, skip=done, as_group=False)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else on standard output")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
