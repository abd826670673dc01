"""Types with limits: what they allow, what they say, and how documents are read by them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from smallbignet import SmallBigError
from smallbignet.utils.checks import NON_EMPTY, Must, Range, check_fields, checked, described, read_arguments, read_as


@dataclass(frozen=True)
class Crop:
    side: Annotated[int, Range(ge=1, le=9)] = 4
    mean: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_fields(self, "crop")


@dataclass(frozen=True)
class Recipe:
    name: Annotated[str, NON_EMPTY]
    crop: Crop = field(default_factory=Crop)
    rate: Annotated[float, Range(gt=0, lt=1)] | None = None
    kind: Literal["max", "avg", 3] = "max"
    places: list[Annotated[int, Range(ge=0, le=5)]] = field(default_factory=list)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "r.name is missing"),
        ([], "r must be a mapping with name, crop, rate, kind, places, not []"),
        (None, "r must be a mapping with name, crop, rate, kind, places, not null"),
        ({"name": ""}, "r.name must be a text that is not empty, not ''"),
        ({"name": 3}, "r.name must be a text that is not empty, not 3"),
        ({"name": "a", "krop": {}}, "unknown key 'krop' in r; did you mean crop? known: name, crop, rate, kind, places"),
        ({"name": "a", "crop": 3}, "r.crop must be a mapping with side, mean, not 3"),
        ({"name": "a", "crop": {"side": 10}}, "r.crop.side must be a whole number from 1 to 9, not 10"),
        ({"name": "a", "crop": {"side": True}}, "r.crop.side must be a whole number from 1 to 9, not true"),
        ({"name": "a", "crop": {"side": 4.0}}, "r.crop.side must be a whole number from 1 to 9, not 4.0"),
        ({"name": "a", "crop": {"mean": [1]}}, "r.crop.mean must be a list of 2 values, each a number, not [1]"),
        ({"name": "a", "crop": {"mean": [1, float("inf")]}}, "r.crop.mean[1] must be a number, not inf"),
        ({"name": "a", "crop": {"mean": [10**400, 1]}}, "r.crop.mean[0] must be a number, not 1000"),
        ({"name": "a", "rate": 1}, "r.rate must be null or a number above 0 and below 1, not 1"),
        ({"name": "a", "rate": float("nan")}, "r.rate must be null or a number above 0 and below 1, not nan"),
        ({"name": "a", "kind": "min"}, "r.kind must be max, avg or 3, not 'min'"),
        ({"name": "a", "kind": 3.0}, "r.kind must be max, avg or 3, not 3.0"),
        ({"name": "a", "places": "12"}, "r.places must be a list of values, each a whole number from 0 to 5, not '12'"),
        ({"name": "a", "places": [1, 6]}, "r.places[1] must be a whole number from 0 to 5, not 6"),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_what_is_allowed(values, words):
    with pytest.raises(SmallBigError) as caught:
        read_arguments(Recipe, values, "r")
    assert str(caught.value).startswith(words) and len(str(caught.value)) < 200


def test_a_document_becomes_what_the_types_say():
    values = {"name": "a", "crop": {"side": 9, "mean": [0, 0.5]}, "rate": None, "kind": 3, "places": (0, 5)}
    assert Recipe(**read_arguments(Recipe, values)) == Recipe("a", Crop(9, (0, 0.5)), None, 3, [0, 5])


def test_a_dataclass_made_in_python_is_checked_too():
    with pytest.raises(SmallBigError, match=r"crop\.side must be a whole number from 1 to 9, not 0"):
        Crop(side=0)


def test_values_in_messages_are_short_and_in_one_line():
    with pytest.raises(SmallBigError) as caught:
        read_as(int, {"a\nb": ["x" * 10**6] * 10**6}, "v")
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_checked_function_is_called_with_what_it_allows():
    @checked
    def double(value: Annotated[int, Range(ge=0, le=5)], *, times: Any = 2) -> int:
        """Doubles."""
        return value * times

    assert double(2) == 4 and double(value=5, times=3) == 15 and double.__doc__ == "Doubles."
    with pytest.raises(SmallBigError, match="value must be a whole number from 0 to 5, not 6"):
        double(6)


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [
        (Range(ge=1, le=3), [1, 2.5, 3], [0, 4, float("nan"), float("inf")]),
        (Range(gt=1, lt=3), [1.1, 2.9], [1, 3, float("-inf")]),
        (Range(ge=1, lt=3), [1, 2.9], [3]),
        (Must("a vowel", "aeiou".__contains__), ["a"], ["b"]),
    ],
)
def test_limits(limit, inside, outside):
    assert all(map(limit.allows, inside)) and not any(map(limit.allows, outside))


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Annotated[int, Range(ge=1, le=10_000)], "a whole number from 1 to 10,000"),
        (Annotated[float, Range(ge=0, lt=1)], "a number of at least 0 and below 1"),
        (int | None, "null or a whole number"),
        (dict[str, str], "a mapping"),
        (Crop, "a mapping with side, mean"),
    ],
)
def test_what_a_type_allows_in_words(hint, words):
    assert described(hint) == words
