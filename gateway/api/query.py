"""Queries as structs, refused with the parameter's name."""

from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect

from gateway.api.explain import Faults, look
from gateway.api.problems import BadRequest, FieldError

T = TypeVar("T")

DIGITS_MAX: Final = 15

ROW_DIGITS_MAX: Final = 18
"""Of a row's number: more do not fit the ledger's."""

# A query has parameters, not fields: rules whose words differ.
_RULES: Final = {
    "type": "whole",  # all else in a query is text
    "required": "required-parameter",
    "unknown": "unknown-parameter",
}


def decode_query(pairs: Iterable[tuple[str, str]], kind: type[T]) -> T:
    """A query as its struct; whole numbers come as digits, tuples as repeated parameters.

    Raises BadRequest invalid-request whose errors name the `parameter`.
    """
    info = _info(cast(Hashable, kind))
    given, errors = _gather(pairs, {field.encode_name: field.type for field in info.fields})
    if not errors:
        try:
            return msgspec.convert(given, kind)
        except ValueError:
            faults = Faults()
            look(info, given, "", faults)
            errors = faults.found
    raise BadRequest("invalid-request", [_of_parameter(error) for error in errors])


def _gather(
    pairs: Iterable[tuple[str, str]], types: Mapping[str, inspect.Type]
) -> tuple[dict[str, Any], list[FieldError]]:
    given: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, text in pairs:
        kind = types.get(name)
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        if isinstance(kind, inspect.VarTupleType):
            given.setdefault(name, []).append(text)
        elif name in given:
            errors.append(FieldError(f"/{name}", "repeated"))
        else:
            given[name] = _number(text) if isinstance(kind, inspect.IntType) else text
    return given, errors


def _number(text: str) -> int | str:
    plain = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    return int(text) if plain else text


def _of_parameter(error: FieldError) -> FieldError:
    """`/sku/1` of the gathered query is the parameter `sku`."""
    name = error.pointer.split("/")[1].replace("~1", "/").replace("~0", "~")
    return FieldError("", _RULES.get(error.rule, error.rule), error.params, parameter=name)


@cache
def _info(kind: Hashable) -> inspect.StructType:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info


def row_number(text: str) -> int | None:
    """The number of a row of the ledger, as ids and cursors name it; None for what is none."""
    plain = text.isascii() and text.isdigit() and len(text) <= ROW_DIGITS_MAX
    return int(text) if plain else None
