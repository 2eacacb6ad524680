"""Turning a table that a person wrote into a Struct, with one plain sentence per mistake."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s]*:)?[^/@\s]*@")
_QUERY_SECRET = re.compile(r"([?&](?:password|passwd|secret|token)=)[^&\s]*", re.IGNORECASE)
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "a flag"}
_FOUND_CHARS_MAX = 60

S = TypeVar("S", bound=msgspec.Struct)
Report = Callable[[str, str], None]  # (field name, what is wrong with it)


class FieldDoc(NamedTuple):
    """One setting, for documentation: `default` as TOML, `allowed` and `meaning` in words."""

    key: str
    default: str
    allowed: str
    meaning: str


def convert_table(kind: type[S], table: Mapping[str, Any], report: Report) -> S | None:
    """`table` as a `kind`, or None after reporting every mistake in it.

    Only fields declared as `Annotated[type, Meta]` are read from the table.
    """
    known = {field.name: field for field in msgspec.structs.fields(kind) if meta_of(field.type)}
    good: dict[str, Any] = {}
    wrong = 0
    for name, value in table.items():
        if name not in known:
            report(name, f"there is no such setting{did_you_mean(name, known)}")
            wrong += 1
            continue
        try:
            good[name] = msgspec.convert(value, known[name].type)
        except msgspec.ValidationError:
            report(name, expected(known[name].type, value))
            wrong += 1
    for name, field in known.items():
        if field.required and name not in table:
            report(name, f"is missing; allowed: {allowed(field.type)}")
            wrong += 1
    return None if wrong else kind(**good)


def convert_text(kind: Any, text: str) -> Any:
    """`text` (an environment variable, a CSV cell) as a value of the annotated type `kind`.

    A list is written with commas.

    Raises:
        msgspec.ValidationError: it is not one, or is out of range.
    """
    base = get_args(kind)[0]
    if get_origin(base) is tuple:
        return msgspec.convert([part.strip() for part in text.split(",") if part.strip()], kind)
    if base is int and not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise msgspec.ValidationError("not a whole number")
    return msgspec.convert(text, kind, strict=base is str)


def expected(kind: Any, value: Any) -> str:
    """What was found and what is allowed instead, as one clause."""
    seen = "something else" if _is_secret(kind) else found(value)
    return f"found {seen}; allowed: {allowed(kind)}"


def shown(field: Any, table: msgspec.Struct) -> Any:
    """The value of one of the table's fields as it may be shown."""
    value = getattr(table, field.name)
    return "(hidden)" if value and _is_secret(field.type) else value


def _is_secret(kind: Any) -> bool:
    meta = meta_of(kind)
    return meta is not None and bool((meta.extra or {}).get("secret"))


def found(value: Any) -> str:
    """`value` as a person wrote it, shortened, without passwords."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return str(value).lower()
    text = json.dumps(redact(value), ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= _FOUND_CHARS_MAX else text[:_FOUND_CHARS_MAX] + "…"


def allowed(kind: Any) -> str:
    """In words, what a field of the annotated type `kind` takes."""
    meta = meta_of(kind)
    if meta is not None and meta.extra and "allowed" in meta.extra:
        return str(meta.extra["allowed"])
    words = _KINDS.get(get_args(kind)[0] if meta else kind, "a value")
    if meta is not None and meta.ge is not None and meta.le is not None:
        return f"{words} from {meta.ge} to {meta.le}"
    return words


def meta_of(kind: Any) -> msgspec.Meta | None:
    """The Meta of an annotated type, or None for any other type."""
    return next((part for part in get_args(kind) if isinstance(part, msgspec.Meta)), None)


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A question that names the closest known name, to end a complaint with, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{prefix}{close[0]}`?" if close else ""


def redact(text: str) -> str:
    """`text` with the passwords of any URLs in it replaced by ***."""
    hidden = _URL_PASSWORD.sub(lambda m: f"{m[1] or ''}***@", text)
    return _QUERY_SECRET.sub(r"\1***", hidden)


def docs_of(kind: type[msgspec.Struct], *, prefix: str = "") -> list[FieldDoc]:
    """Every annotated field of `kind`, in order."""
    return [
        FieldDoc(
            prefix + field.name,
            "" if field.required else json.dumps(field.default),
            allowed(field.type),
            meta.description or "",
        )
        for field in msgspec.structs.fields(kind)
        if (meta := meta_of(field.type))
    ]
