"""Queries: as strict as bodies, and the parameter is named."""

from typing import Any

import pytest

from gateway.api.problems import BadRequest
from gateway.api.query import decode_query
from gateway.api.schemas import ReservationListQuery, SkuListQuery, StockQuery


def refused(kind: type, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    with pytest.raises(BadRequest) as caught:
        decode_query(pairs, kind)
    assert caught.value.code == "invalid-request"
    caught.value.render(lang="zh")
    return [{"parameter": error.parameter, "rule": error.rule} for error in caught.value.errors]


def test_defaults_and_values() -> None:
    assert decode_query([], ReservationListQuery).limit == 100
    it = decode_query([("sku", "a"), ("state", "held"), ("limit", "5")], ReservationListQuery)
    assert (it.sku, it.state, it.limit) == ("a", "held", 5)


def test_several_skus() -> None:
    assert decode_query([("sku", "a"), ("sku", "b")], StockQuery).sku == ("a", "b")


@pytest.mark.parametrize(
    ("kind", "pairs", "parameter", "rule"),
    [
        (StockQuery, [], "sku", "required-parameter"),
        (StockQuery, [("sku", "a"), ("sku", "{b}")], "sku", "sku"),
        (StockQuery, [("sku", "a")] * 101, "sku", "size"),
        (StockQuery, [("sku", "a"), ("x", "1")], "x", "unknown-parameter"),
        (ReservationListQuery, [("state", "lost")], "state", "choice"),
        (ReservationListQuery, [("sku", "a"), ("sku", "b")], "sku", "repeated"),
        (SkuListQuery, [("limit", "0")], "limit", "range"),
        (SkuListQuery, [("limit", "501")], "limit", "range"),
        (SkuListQuery, [("limit", "1e2")], "limit", "whole"),
        (SkuListQuery, [("limit", "-1")], "limit", "whole"),
        (SkuListQuery, [("limit", "٣")], "limit", "whole"),
        (SkuListQuery, [("limit", "9" * 5000)], "limit", "whole"),
        (SkuListQuery, [("limit", "")], "limit", "whole"),
        (SkuListQuery, [("cursor", "a b")], "cursor", "cursor"),
        (SkuListQuery, [("a/b~1", "1")], "a/b~1", "unknown-parameter"),
    ],
)
def test_faults(kind: type, pairs: list[tuple[str, str]], parameter: str, rule: str) -> None:
    assert refused(kind, *pairs)[0] == {"parameter": parameter, "rule": rule}


@pytest.mark.parametrize("pairs", [[], [("sku", "a"), ("x", "1")], [("sku", "")]])
def test_words_about_a_query_speak_of_parameters(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_query(pairs, StockQuery)
    for lang, field in (("en", "field"), ("zh", "字段")):
        assert not any(field in error.text(lang) for error in caught.value.errors)
