"""Says everything that is wrong with a body that was refused. Slow, thorough, bounded.

msgspec decides what is accepted; this looks again, at leisure, and names every fault (up to
ERRORS_MAX) with its RFC 6901 pointer. It also finds duplicate names, which msgspec lets pass.
"""

import datetime
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect

from gateway.api.problems import BadRequest, FieldError

ERRORS_MAX: Final = 20
DIGITS_MAX: Final = 400  # longer integers are cut: they are out of every range already
NAME_LENGTH_MAX: Final = 64  # of a client's own names, when they are repeated to it

_byte_in_message = re.compile(r"^JSON is malformed: (.*) \(byte (\d+)\)").search
_place_in_message = re.compile(r"^(.*?)(?: - at `\$?([^`]*)`)?$", re.DOTALL).search
_step = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]").finditer


class Fraction(float):
    """A number written with a fraction or an exponent."""


class Object(dict[str, Any]):
    """A JSON object that knows which of its names came twice."""

    repeated: tuple[str, ...] = ()


def malformed(rule: str, **params: object) -> BadRequest:
    """The body cannot be read as JSON."""
    return BadRequest("malformed-json", [FieldError("", rule, params)])


def explain(body: bytes, kind: inspect.Type, refusal: Exception | None) -> BadRequest | None:
    """Why `body` does not make a `kind`; None when nothing is wrong with it.

    refusal: what msgspec said, or None when it accepted the body.
    """
    value = parse(body, refusal)
    if isinstance(value, BadRequest):
        return value
    faults = Faults()
    look(kind, value, "", faults)
    if not faults.found and refusal is not None:
        faults.found.append(_in_its_words(refusal))
    return BadRequest("invalid-request", faults.found) if faults.found else None


def parse(body: bytes, refusal: Exception | None = None) -> Any:
    """The JSON value, objects as Object; or BadRequest (returned) when it is malformed."""
    try:
        text = body.decode("utf-8")
        value = _read(text)
    except UnicodeDecodeError as error:
        return malformed("encoding", byte=error.start)
    except RecursionError:
        return malformed("depth")
    except json.JSONDecodeError as error:
        return _bad_syntax(text, error, refusal)
    if refusal is not None and not isinstance(
        refusal, msgspec.ValidationError | RecursionError | UnicodeDecodeError
    ):
        return _bad_in_its_words(text, refusal)
    return value


def _read(text: str) -> Any:
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=lambda digits: int(digits[:DIGITS_MAX]),
        parse_float=Fraction,
        parse_constant=_no_constants,
    )


def _object(pairs: list[tuple[str, Any]]) -> Object:
    found = Object(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        found.repeated = tuple(name for name, count in counts.items() if count > 1)
    return found


def _no_constants(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def _bad_syntax(text: str, error: json.JSONDecodeError, refusal: Exception | None) -> BadRequest:
    if not text.strip():
        return malformed("empty-body")
    if error.doc == text:
        return _syntax_at(text, error.pos, error.msg)
    told = _byte_in_message(str(refusal))  # NaN and the like: only msgspec says where
    position = _characters(text, int(told[2])) if told else text.find(error.doc)
    return _syntax_at(text, position, error.msg)


def _characters(text: str, size_bytes: int) -> int:
    return len(text.encode()[:size_bytes].decode("utf-8", "ignore"))


def _syntax_at(text: str, position: int, message: str) -> BadRequest:
    before = text[:position]
    line, column = before.count("\n") + 1, position - before.rfind("\n")
    byte = len(before.encode("utf-8", "surrogatepass"))
    return malformed("syntax", message=message, byte=byte, line=line, column=column)


def _bad_in_its_words(text: str, refusal: Exception) -> BadRequest:
    """msgspec calls it malformed although Python's reader does not: half a surrogate pair."""
    if "\\u" in text:
        return malformed("surrogate")
    told = _byte_in_message(str(refusal))
    if told is None:
        return malformed("other", message=str(refusal))
    return _syntax_at(text, _characters(text, int(told[2])), told[1])


def _in_its_words(refusal: Exception) -> FieldError:
    """msgspec's own message and path, for faults this module does not know."""
    told = _place_in_message(str(refusal))
    message, path = (told[1], told[2] or "") if told else (str(refusal), "")
    steps = [step[1] or step[2] for step in _step(path)]
    return FieldError("".join("/" + escape(step) for step in steps), "other", {"message": message})


def escape(name: str) -> str:
    """A name as a step of an RFC 6901 pointer; cut, as pointers repeat a client's own words."""
    return _shown(name).replace("~", "~0").replace("/", "~1")


def _shown(name: str) -> str:
    return name[:NAME_LENGTH_MAX].encode("utf-8", "replace").decode()


class Faults:
    """The faults found so far, at most ERRORS_MAX."""

    def __init__(self) -> None:
        self.found: list[FieldError] = []

    @property
    def full(self) -> bool:
        """Whether enough was found to stop looking."""
        return len(self.found) >= ERRORS_MAX

    def add(self, pointer: str, rule: str, **params: object) -> None:
        """Records a fault, unless there are enough."""
        if not self.full:
            self.found.append(FieldError(pointer, rule, params))


def look(kind: inspect.Type, value: Any, pointer: str, faults: Faults, rule: str = "") -> None:
    """Compares `value` with what `kind` takes and records every difference."""
    if isinstance(kind, inspect.Metadata):
        look(kind.type, value, pointer, faults, str((kind.extra or {}).get("rule", rule)))
    elif value is None:
        faults.add(pointer, "null")
    else:
        _LOOKS[type(kind)](kind, value, pointer, faults, rule)


def _look_at_struct(
    kind: inspect.StructType, value: Any, pointer: str, faults: Faults, _: str
) -> None:
    if not isinstance(value, dict):
        faults.add(pointer, "type", expected="object", got=_kind_of(value))
        return
    fields = {field.encode_name: field for field in kind.fields}
    for name in getattr(value, "repeated", ()):
        faults.add(f"{pointer}/{escape(name)}", "duplicate", name=_shown(name))
    _look_for_strangers(fields, value, pointer, faults)
    for name, field in fields.items():
        if name in value:
            look(field.type, value[name], f"{pointer}/{escape(name)}", faults)
        elif field.required:
            faults.add(f"{pointer}/{escape(name)}", "required", name=name)


def _look_for_strangers(
    fields: Mapping[str, inspect.Field], value: Mapping[str, Any], pointer: str, faults: Faults
) -> None:
    for name in value:
        if name in fields or faults.full:
            continue
        place = f"{pointer}/{escape(name)}"
        if fields:
            faults.add(place, "unknown", name=_shown(name), known=", ".join(fields))
        else:
            faults.add(place, "no-body")


def _look_at_array(
    kind: inspect.VarTupleType, value: Any, pointer: str, faults: Faults, _: str
) -> None:
    if not isinstance(value, list):
        faults.add(pointer, "type", expected="array", got=_kind_of(value))
        return
    low, high = kind.min_length or 0, kind.max_length
    if len(value) < low or (high is not None and len(value) > high):
        faults.add(pointer, "size", low=low, high=high, count=len(value))
        return
    for number, item in enumerate(value):
        if faults.full:
            return
        look(kind.item_type, item, f"{pointer}/{number}", faults)


def _look_at_integer(
    kind: inspect.IntType, value: Any, pointer: str, faults: Faults, _: str
) -> None:
    if isinstance(value, Fraction):
        faults.add(pointer, "whole")
    elif not isinstance(value, int) or isinstance(value, bool):
        faults.add(pointer, "type", expected="integer", got=_kind_of(value))
    elif not _within(value, kind.ge, kind.le):
        faults.add(pointer, "range", low=kind.ge, high=kind.le)


def _within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _look_at_string(
    kind: inspect.StrType, value: Any, pointer: str, faults: Faults, rule: str
) -> None:
    if not isinstance(value, str):
        faults.add(pointer, "type", expected="string", got=_kind_of(value))
    elif kind.pattern is not None and not re.search(kind.pattern, value):
        faults.add(pointer, rule)


def _look_at_choice(
    kind: inspect.LiteralType, value: Any, pointer: str, faults: Faults, _: str
) -> None:
    if value not in kind.values:
        faults.add(pointer, "choice", choices=", ".join(map(str, kind.values)))


def _look_at_time(
    kind: inspect.DateTimeType, value: Any, pointer: str, faults: Faults, _: str
) -> None:
    if not isinstance(value, str):
        faults.add(pointer, "type", expected="string", got=_kind_of(value))
        return
    try:
        if msgspec.convert(value, datetime.datetime).tzinfo is None:
            faults.add(pointer, "time")
    except msgspec.ValidationError:
        faults.add(pointer, "time")


_LOOKS: Final[dict[type[inspect.Type], Callable[[Any, Any, str, Faults, str], None]]] = {
    inspect.StructType: _look_at_struct,
    inspect.VarTupleType: _look_at_array,
    inspect.IntType: _look_at_integer,
    inspect.StrType: _look_at_string,
    inspect.LiteralType: _look_at_choice,
    inspect.DateTimeType: _look_at_time,
}


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
