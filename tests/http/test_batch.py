"""Many reservations in one call: in order, each alone, each once."""

from typing import Any

from tests.http.api import Api, fresh, line, refused


def entry(sku: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
    made = {"key": fresh("key"), "buyer": fresh("buyer"), "lines": [line(sku, quantity)]}
    return {**made, **more}


def send(api: Api, *entries: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    answer = api.call("POST", "/v1/reservations/batch", {"reservations": entries}, headers=headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert len(results) == len(entries)
    return results


def test_results_come_in_order_and_each_stands_alone(api: Api) -> None:
    plenty, scarce = api.new_sku(10, buyer_limit=2), api.new_sku(1)
    entries = [
        entry(plenty, buyer="first"),
        entry("nowhere"),
        entry(scarce, buyer="second"),
        entry(scarce),
        entry(plenty, 3),
        entry(plenty, buyer="last"),
    ]
    results = send(api, *entries)
    assert [r["status"] for r in results] == [201, 404, 201, 409, 409, 201]
    made = [r["reservation"]["buyer"] for r in results if r["status"] == 201]
    assert made == ["first", "second", "last"]
    codes = [r["problem"]["code"] for r in results if r["status"] != 201]
    assert codes == ["unknown-sku", "sold-out", "buyer-limit"]
    assert all(r["problem"]["status"] == r["status"] for r in results if "problem" in r)
    assert all("replayed" not in r for r in results)
    assert api.terms(plenty)["held"] == 2


def test_a_repeated_batch_is_replayed(api: Api) -> None:
    sku = api.new_sku(10)
    entries = [entry(sku) for _ in range(5)]
    first, again = send(api, *entries), send(api, *entries)
    assert [r["replayed"] for r in again] == [True] * 5
    ids = [[r["reservation"]["id"] for r in results] for results in (first, again)]
    assert ids[0] == ids[1]
    assert api.terms(sku)["held"] == 5


def test_duplicates_inside_a_batch_are_one_reservation(api: Api) -> None:
    sku = api.new_sku(10)
    one = entry(sku)
    results = send(api, one, entry(sku), one, {**one, "buyer": "another"}, one)
    assert [r["status"] for r in results] == [201, 201, 201, 422, 201]
    assert [r.get("replayed") for r in results] == [None, None, True, None, True]
    assert results[3]["problem"]["code"] == "idempotency-mismatch"
    assert len({results[i]["reservation"]["id"] for i in (0, 2, 4)}) == 1
    assert api.terms(sku)["held"] == 2


def test_a_key_means_the_same_alone_and_in_a_batch(api: Api) -> None:
    sku = api.new_sku(10)
    one = entry(sku)
    alone = api.reserve(sku, key=one["key"], buyer=one["buyer"]).json()["id"]
    result = send(api, one)[0]
    assert (result["replayed"], result["reservation"]["id"]) == (True, alone)


def test_the_largest_batch_sells_exactly_what_there_is(api: Api) -> None:
    sku = api.new_sku(333)
    results = send(api, *[entry(sku) for _ in range(500)])
    statuses = [r["status"] for r in results]
    assert statuses.count(201) == 333
    assert statuses[:333] == [201] * 333
    assert api.terms(sku)["available"] == 0


def test_problems_of_entries_speak_the_callers_language(api: Api) -> None:
    result = send(api, entry("nowhere"), **{"Accept-Language": "zh-CN"})[0]
    assert result["problem"]["title"] == "没有该 SKU"


def test_a_batch_that_breaks_the_schema_is_refused_whole(api: Api) -> None:
    sku = api.new_sku(10)
    bad = {**entry(sku), "lines": [line(sku, 0)]}
    answer = api.call(
        "POST", "/v1/reservations/batch", {"reservations": [entry(sku), entry(sku), bad]}
    )
    problem = refused(answer, 422, "invalid-request")
    assert [e["pointer"] for e in problem["errors"]] == ["/reservations/2/lines/0/quantity"]
    assert api.terms(sku)["held"] == 0
