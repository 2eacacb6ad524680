"""Holds every answer against the gateway's own OpenAPI document.

Stricter than JSON Schema: a member that the schema does not name is a fault, and so is a keyword
that this validator does not know.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx

Json = dict[str, Any]

_ANNOTATIONS = {"description", "examples", "example", "title", "default"}
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": type(None),
}
_DOCUMENTED_ONLY = {"location", "idempotent-replayed", "preference-applied", "etag"}
_PROBLEM = ("type", "title", "status", "detail", "instance", "code", "retryable")


class Contract:
    """The OpenAPI document as a judge."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods)
            for path, methods in document["paths"].items()
        ]

    def check(self, response: httpx.Response) -> None:
        """AssertionError, with the answer, when it is not what the document promises."""
        faults = list(self._faults(response))
        method, url = response.request.method, response.request.url
        assert not faults, f"{method} {url}: {response.status_code} {response.text}\n{faults}"

    def paths(self) -> Json:
        """Every path of the document with its methods."""
        return dict(self._document["paths"])

    def operation(self, method: str, path: str) -> Json | None:
        """What the document says of a call; None when it has no such call."""
        found = [methods for pattern, methods in self._paths if pattern.fullmatch(path)]
        # /v1/reservations/batch also looks like /v1/reservations/{id}.
        return next((m[method] for m in found if method in m), None)

    def _faults(self, response: httpx.Response) -> Iterator[str]:
        if not response.headers.get("x-request-id"):
            yield "it has no X-Request-Id"
        if _media(response) == "application/problem+json":
            yield from self._problem_faults(response)
        method = response.request.method.lower()
        if method == "head":
            method = "get"
            if response.content:
                yield "an answer to HEAD has a body"
        operation = self.operation(method, response.request.url.path)
        if operation is not None:
            yield from self._answer_faults(operation, response)

    def _problem_faults(self, response: httpx.Response) -> Iterator[str]:
        if response.request.method == "HEAD":
            return
        problem = response.json()
        yield from (f"a problem without {name}" for name in _PROBLEM if name not in problem)
        yield from self._schema_faults(
            {"$ref": "#/components/schemas/ProblemOut"}, problem, "problem"
        )
        if problem.get("status") != response.status_code:
            yield "its status is not the answer's"
        if problem.get("type") != f"/problems/{problem.get('code')}":
            yield "its type does not lead to its code"
        path = httpx.URL(response.request.url).path
        if problem.get("instance") != (path if len(path) <= 200 else path[:200] + "…"):
            yield f"its instance is {problem.get('instance')}"
        after = response.headers.get("retry-after")
        if after != (str(problem["retry_after_s"]) if "retry_after_s" in problem else None):
            yield f"Retry-After {after} is not its retry_after_s"
        if response.headers.get("content-language") not in ("en", "zh"):
            yield "it names no language"

    def _answer_faults(self, operation: Json, response: httpx.Response) -> Iterator[str]:
        promised = operation["responses"].get(str(response.status_code))
        if promised is None:
            yield f"{operation['operationId']} does not document {response.status_code}"
            return
        named = {name.lower() for name in promised.get("headers", {})}
        pages = not response.request.url.path.startswith("/v1/")
        for name in () if pages else _DOCUMENTED_ONLY & set(response.headers) - named:
            yield f"the header {name} is not documented"
        if response.request.method == "HEAD" or response.status_code == 304:
            return
        content = promised.get("content", {})
        if _media(response) not in content:
            yield f"{_media(response)} is not among {sorted(content)}"
            return
        schema = content[_media(response)].get("schema")
        if schema is not None:
            yield from self._schema_faults(schema, response.json(), "body")

    def _schema_faults(self, schema: Json, value: Any, place: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self._resolve(schema["$ref"])
        for keyword, argument in schema.items():
            if keyword in _ANNOTATIONS or keyword in ("required", "additionalProperties"):
                continue
            check = getattr(self, f"_check_{keyword.lower()}", None)
            if check is None:
                yield f"{place}: unknown keyword {keyword}"
            else:
                yield from check(argument, value, place)
        if isinstance(value, dict) and "properties" in schema:
            missing = set(schema.get("required", ())) - set(value)
            strange = set(value) - set(schema["properties"])
            yield from (f"{place}: {name} is missing" for name in missing)
            yield from (f"{place}: {name} is not documented" for name in strange)

    def _resolve(self, ref: str) -> Json:
        found: Any = self._document
        for step in ref.removeprefix("#/").split("/"):
            found = found[step]
        return dict(found)

    def _check_type(self, kind: str, value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
            yield f"{place}: {value!r} is no {kind}"

    def _check_properties(self, properties: Json, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, dict):
            for name, schema in properties.items():
                if name in value:
                    yield from self._schema_faults(schema, value[name], f"{place}/{name}")

    def _check_items(self, schema: Json, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self._schema_faults(schema, item, f"{place}/{number}")

    def _check_anyof(self, schemas: list[Json], value: Any, place: str) -> Iterator[str]:
        if all(list(self._schema_faults(schema, value, place)) for schema in schemas):
            yield f"{place}: {value!r} fits none of the alternatives"

    def _check_enum(self, choices: list[Any], value: Any, place: str) -> Iterator[str]:
        if value not in choices:
            yield f"{place}: {value!r} is none of {choices}"

    def _check_pattern(self, pattern: str, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
            yield f"{place}: {value!r} does not match {pattern}"

    def _check_minimum(self, low: int, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, int) and value < low:
            yield f"{place}: {value} is below {low}"

    def _check_maximum(self, high: int, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, int) and value > high:
            yield f"{place}: {value} is above {high}"

    def _check_maxlength(self, most: int, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, str) and len(value) > most:
            yield f"{place}: longer than {most}"

    def _check_format(self, name: str, value: Any, place: str) -> Iterator[str]:
        if name == "date-time":
            try:
                datetime.fromisoformat(value)
            except ValueError:
                yield f"{place}: {value!r} is no time"
            if not str(value).endswith("Z"):
                yield f"{place}: {value!r} does not end in Z"


def _media(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip()
