"""The OpenAPI document: valid, complete, and true to the structs that check the requests."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway import __version__
from gateway.api import decoders, schemas
from gateway.api.body import BodyDecoder, decode
from gateway.api.openapi import OPERATIONS, document, document_bytes
from gateway.api.problems import CATALOGUE

DOCUMENT: dict[str, Any] = json.loads(document_bytes())

PROMISED = {
    "post /v1/reservations": {"201", "400", "401", "404", "409", "413", "415", "422", "429", "503"},
    "post /v1/reservations/batch": {"200", "400", "413", "415", "422", "503"},
    "get /v1/reservations/{id}": {"200", "404"},
    "post /v1/reservations/{id}/payment": {"200", "400", "404", "408", "409", "410", "413", "422"},
    "post /v1/reservations/{id}/confirm": {"200", "202", "404", "409", "410", "422"},
    "post /v1/reservations/{id}/release": {"200", "400", "404", "408", "409", "410", "413", "422"},
    "post /v1/reservations/{id}/extend": {"200", "404", "409", "410", "422"},
    "get /v1/stock/{sku}": {"200", "304", "404"},
    "get /v1/stock": {"200", "422"},
    "put /v1/admin/skus/{sku}": {"200", "201", "401", "403", "409", "422"},
    "get /v1/admin/skus/{sku}": {"200", "404"},
    "get /v1/admin/skus": {"200", "422"},
    "post /v1/admin/skus/{sku}/adjustments": {"201", "400", "404", "409", "422"},
    "get /v1/admin/reservations": {"200", "422"},
    "get /livez": {"200"},
    "get /readyz": {"200", "503"},
    "get /metrics": {"200", "401", "403"},
    "get /openapi.json": {"200"},
}  # fmt: skip

DECODERS: dict[str, BodyDecoder[Any]] = {
    "createReservation": decoders.RESERVATION,
    "createReservations": decoders.BATCH,
    "confirmReservation": decoders.CONFIRM,
    "extendReservation": decoders.EXTEND,
    "putSku": decoders.SKU,
    "adjustStock": decoders.ADJUSTMENT,
    "dismissDeadLetter": decoders.DISMISS,
}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from nodes(child)


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, call in methods.items():
            yield f"{method} {path}", call


def test_it_passes_the_validator() -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(DOCUMENT)


def test_every_reference_resolves() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    assert references
    for reference in references:
        here = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            here = here[step]
        assert here


def test_every_component_is_used() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    for kind in ("schemas", "parameters", "headers"):
        for name in DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in references, name


def test_it_names_the_running_version() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == __version__
    assert document() is document()


def test_every_promised_call_is_described_with_its_answers() -> None:
    described = {name: set(call["responses"]) for name, call in calls()}
    for name, statuses in PROMISED.items():
        assert statuses <= described[name], name


def test_every_call_has_a_name_a_tag_a_text_and_its_scope() -> None:
    names = [call["operationId"] for _, call in calls()]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for name, call in calls():
        assert call["summary"], name
        assert call["description"], name
        assert set(call["tags"]) <= tags
        scopes = [scope for one in call["security"] for scope in one["bearer"]]
        guarded = "admin" if "/admin/" in name else "storefront" if "/v1/" in name else None
        assert guarded is None or scopes == [guarded]


def test_path_parameters_are_described() -> None:
    for name, call in calls():
        refs = [parameter.get("$ref", "") for parameter in call.get("parameters", [])]
        own = [DOCUMENT["components"]["parameters"][ref.rpartition("/")[2]] for ref in refs if ref]
        in_path = {parameter["name"] for parameter in own if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", name)), name


def test_problems_are_listed_with_examples_under_their_status() -> None:
    seen = set()
    for _, call in calls():
        for status, answer in call["responses"].items():
            problem = answer.get("content", {}).get("application/problem+json")
            for code, example in (problem or {}).get("examples", {}).items():
                seen.add(code)
                assert CATALOGUE[code].status == int(status)
                told = msgspec.convert(example["value"], schemas.ProblemOut)
                assert told.code == code
    assert set(CATALOGUE) - seen <= {"method-not-allowed"}


@pytest.mark.parametrize("name", DECODERS)
def test_examples_of_bodies_are_accepted(name: str) -> None:
    call = next(call for _, call in calls() if call["operationId"] == name)
    example = call["requestBody"]["content"]["application/json"]["example"]
    decode(json.dumps(example).encode(), DECODERS[name])


def test_every_body_has_a_decoder_here() -> None:
    assert {it.name for it in OPERATIONS if it.body is not None} == set(DECODERS)


def test_examples_of_answers_fit_their_structs() -> None:
    for operation in OPERATIONS:
        for answer in operation.answers:
            if answer.body is not None:
                assert msgspec.convert(answer.example, answer.body), operation.name


def test_patterns_are_for_json_schema() -> None:
    patterns = [node["pattern"] for node in nodes(DOCUMENT) if isinstance(node.get("pattern"), str)]
    assert patterns
    for pattern in patterns:
        assert "\\Z" not in pattern
        assert pattern.endswith("$")
    assert schemas.CURSOR_PATTERN.endswith("\\Z")


def test_inputs_refuse_unknown_fields_and_promise_no_impossible_default() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if name.endswith("In"):
            assert schema["additionalProperties"] is False
            assert not any("default" in field for field in schema["properties"].values())


def test_replays_and_refusals_under_a_key_are_told() -> None:
    create = DOCUMENT["paths"]["/v1/reservations"]["post"]
    header = DOCUMENT["components"]["headers"]["Idempotent-Replayed"]
    for text in (
        create["description"],
        create["responses"]["201"]["description"],
        header["description"],
        DOCUMENT["paths"]["/v1/reservations/batch"]["post"]["description"],
    ):
        assert "a new attempt needs a new key" in text
        assert "released or expired" in text
    assert "Refusals are not remembered" in create["description"]


def test_a_batch_says_that_it_is_refused_whole() -> None:
    text = DOCUMENT["paths"]["/v1/reservations/batch"]["post"]["description"]
    assert "refused whole" in text
    assert "nothing is reserved" in text


def test_a_problem_is_explained_to_programs_and_to_people() -> None:
    content = DOCUMENT["paths"]["/problems/{code}"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/html"}
    example = content["application/json"]["example"]
    assert msgspec.convert(example, schemas.ExplanationOut).code == "sold-out"


def test_the_expected_occupancy_says_how_it_is_learnt() -> None:
    text = DOCUMENT["components"]["schemas"]["StockOut"]["properties"]["expected_occupancy_30m"]
    assert "since it started" in text["description"]
