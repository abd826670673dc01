"""Which values a setting may have: said once, beside the setting, in its type.

    @dataclass(frozen=True)
    class OptimSpec:
        epochs: Annotated[int, Range(ge=1, le=10_000)] = 30

        def __post_init__(self):
            check_fields(self, "optim")

`OptimSpec(epochs=0)` is then an error: optim.epochs must be a whole number from 1 to 10,000, not 0. The same types are checked
where a document such as config.json is read (`read_arguments`), and at calls of functions that are `checked`.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import wraps
from math import inf
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from smallbignet.errors import SmallBigError, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")

WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}
UNIONS, LISTS, MAPPINGS = (Union, UnionType), (list, tuple, Sequence), (dict, Mapping)
SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 60


@dataclass(frozen=True)
class Range:
    """The numbers from `ge`, or above `gt`, to `le`, or below `lt`. NaN and infinities lie in no range."""

    ge: float = -inf
    le: float = inf
    gt: float = -inf
    lt: float = inf

    def allows(self, value: Any) -> bool:
        """Whether a number lies in the range."""
        return self.ge <= value <= self.le and self.gt < value < self.lt

    def __str__(self) -> str:
        if self.ge > -inf and self.le < inf:
            return f"from {self.ge:,} to {self.le:,}"
        low = f"of at least {self.ge:,}" if self.ge > -inf else f"above {self.gt:,}"
        high = f"at most {self.le:,}" if self.le < inf else f"below {self.lt:,}"
        return f"{low} and {high}"


@dataclass(frozen=True)
class Length:
    """How many values a list or a mapping has. It is checked before the values are."""

    ge: int
    le: int

    def allows(self, value: Any) -> bool:
        """Whether a list or a mapping has so many values."""
        return self.ge <= len(value) <= self.le

    def __str__(self) -> str:
        return f"{self.ge:,}" if self.ge == self.le else f"{self.ge:,} to {self.le:,}"


@dataclass(frozen=True)
class Must:
    """Another condition. `words` say all that is allowed, such as "a text that is not empty"."""

    words: str
    allows: Callable[[Any], object]


def is_folder(path: str) -> bool:
    """Whether a path is a folder that can be written, or can become one."""
    try:
        nearest = next(place for place in (Path(path), *Path(path).absolute().parents) if place.exists())
    except (OSError, ValueError):  # such as a name that is too long
        return False
    return bool(path) and nearest.is_dir() and os.access(nearest, os.W_OK)


def is_file(path: str) -> bool:
    """Whether a path is of a file that can be written."""
    return bool(path) and is_folder(str(Path(path).absolute().parent)) and not Path(path).is_dir()


NON_EMPTY = Must("a text that is not empty", bool)
Folder = Annotated[str, Must("a folder that can be written, or a path where one can be made", is_folder)]
FolderOrNone = Annotated[str, Must("a folder that can be written, or nothing", lambda path: not path or is_folder(path))]
FileOrNone = Annotated[str, Must("a file that can be written, or nothing", lambda path: not path or is_file(path))]
Seed = Annotated[int, Range(ge=0, le=2**32 - 1)]
Workers = Annotated[int, Range(ge=0, le=1024)]
WorkersOrAll = Annotated[int, Range(ge=-1, le=1024)]


def check_fields(spec: Any, name: str) -> None:
    """Checks the fields of a dataclass by their types, for its `__post_init__`.

    Args:
        name: what messages call the dataclass, such as "optim"; empty where the names of the fields are enough.

    Raises:
        SmallBigError: names the first field with a wrong value, the value, and what is allowed.
    """
    for key, hint in get_type_hints(type(spec), include_extras=True).items():
        read_as(hint, getattr(spec, key), f"{name}.{key}".lstrip("."))


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function whose arguments are checked by their types at every call."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        hints = get_type_hints(function, include_extras=True)
        for key, value in inspect.signature(function).bind(*args, **kwargs).arguments.items():
            read_as(hints[key], value, key)
        return function(*args, **kwargs)

    return call


def read_arguments(make: Callable[..., Any], values: Any, name: str = "") -> dict[str, Any]:
    """Returns the arguments for a dataclass or a function that a mapping in a document holds.

    Args:
        make: the dataclass or the function.
        values: a mapping from names to plain values.
        name: what messages call the mapping; empty for a whole document.

    Raises:
        SmallBigError: it is no mapping, lacks an argument, or has an unknown one or one with a wrong value.
    """
    parameters = inspect.signature(make).parameters
    if not isinstance(values, Mapping):
        raise _wrong(name or "the document", f"a mapping with {', '.join(parameters)}", values)
    prefix = f"{name}." if name else ""
    for key in values:
        if key not in parameters:
            meant = did_you_mean(str(key), parameters)
            raise SmallBigError(f"unknown key {SHORT.repr(key)} in {name}; {meant}known: {', '.join(parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in values:
            raise SmallBigError(f"{prefix}{key} is missing")
    hints = get_type_hints(make, include_extras=True)
    return {key: read_as(hints[key], value, f"{prefix}{key}") for key, value in values.items()}


def read_as(hint: Any, value: Any, name: str) -> Any:
    """Returns a value as its type has it: a list as a tuple, or a mapping as a dataclass, where the type says so.

    Args:
        hint: the type; `Range`, `Length` and `Must` in an `Annotated` type limit it further.
        value: of a document, or of a setting in Python.
        name: what messages call the value.

    Raises:
        SmallBigError: names the value and what is allowed.
    """
    kind, limits = _split(hint)
    lengths = [limit for limit in limits if isinstance(limit, Length)]
    if _has_form(kind, value) and all(limit.allows(value) for limit in lengths):
        result = _read_parts(kind, value, name, hint)
        if all(limit.allows(result) for limit in limits if limit not in lengths):
            return result
    raise _wrong(name, described(hint), value)


def _split(hint: Any) -> tuple[Any, list[Any]]:
    """A type without its limits, and the limits."""
    kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return kind, limits


def _has_form(kind: Any, value: Any) -> bool:
    """Whether a value is of a type, but for its parts. A whole number is a number; true and false are neither."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in UNIONS or kind is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in parts)
    if origin in LISTS:
        return isinstance(value, (list, tuple)) and (origin is not tuple or len(value) == len(parts))
    if origin in MAPPINGS:
        return isinstance(value, Mapping)
    if kind in (int, float):
        is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        return is_number and (kind is int or abs(value) <= sys.float_info.max)
    if kind is str:
        return isinstance(value, str) and "\0" not in value  # no path and no name has this character
    return not isinstance(kind, type) or isinstance(value, kind) or (is_dataclass(kind) and isinstance(value, Mapping))


def _read_parts(kind: Any, value: Any, name: str, hint: Any) -> Any:
    """What `read_as` returns for a value that has the form of its type; `hint` is the type with its limits."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in UNIONS:
        return _read_as_one_of(parts, value, name, hint)
    if origin in LISTS:
        hints = parts if origin is tuple else parts * len(value)
        items = [read_as(part, item, f"{name}[{i}]") for i, (part, item) in enumerate(zip(hints, value, strict=True))]
        return tuple(items) if origin is tuple else items
    if origin in MAPPINGS:
        return {key: read_as(parts[1], item, f"{name}[{SHORT.repr(key)}]") for key, item in value.items()}
    if is_dataclass(kind) and isinstance(value, Mapping):
        return kind(**read_arguments(kind, value, name))  # type: ignore[operator, arg-type]
    return value


def _read_as_one_of(kinds: Sequence[Any], value: Any, name: str, hint: Any) -> Any:
    """Returns a value as the first of several types that allows it. An error about a part of the value says most."""
    wrong = _wrong(name, described(hint), value)
    for kind in kinds:
        try:
            return read_as(kind, value, name)
        except SmallBigError as error:
            if not error.what.startswith(f"{name} must be"):
                wrong = error
    raise wrong


def described(hint: Any) -> str:
    """What a type allows, in words."""
    kind, limits = _split(hint)
    origin, parts = get_origin(kind), get_args(kind)
    if words := [limit.words for limit in limits if isinstance(limit, Must)]:
        return words[0]
    if origin is Literal:
        *others, last = map(str, parts)
        return f"{', '.join(others)} or {last}" if others else last
    if origin in UNIONS:
        return " or ".join(map(described, sorted(parts, key=lambda part: part is not NoneType)))
    if origin in LISTS:
        number = "".join(f"{limit} " for limit in limits) or (f"{len(parts)} " if origin is tuple else "")
        return f"a list of {number}values, each {described(parts[0])}"
    if origin in MAPPINGS:
        return "a mapping" + "".join(f" of {limit} values" for limit in limits)
    if is_dataclass(kind):
        return f"a mapping with {', '.join(inspect.signature(kind).parameters)}"  # type: ignore[arg-type]
    name = WORDS[kind] if kind in WORDS else getattr(kind, "__name__", "another value")
    return " ".join([name, *map(str, limits)])


def _wrong(name: str, allowed: str, value: Any) -> SmallBigError:
    plain = {None: "null", True: "true", False: "false"}
    given = plain[value] if value is None or isinstance(value, bool) else SHORT.repr(value)
    return SmallBigError(f"{name} must be {allowed}, not {' '.join(given.split())[:150]}")
