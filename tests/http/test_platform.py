"""Health, documentation, names of requests, languages, addresses and methods."""

import re
from html.parser import HTMLParser

import pytest

from tests.http.api import Api, refused

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_it_lives_and_is_ready(api: Api) -> None:
    assert api.get("/livez").text == "alive\n"
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert ready.json()["promises"] == {"confirm": "accepted"}
    assert all(isinstance(notice, str) for notice in ready.json()["notices"])


def test_metrics_count_the_answers(api: Api) -> None:
    def counted() -> float:
        text = api.get("/metrics").text
        pattern = r'http_responses_total\{operation="getReservation",status="404"\} (\S+)'
        found = re.search(pattern, text)
        return float(found[1]) if found else 0.0

    before = counted()
    api.get("/v1/reservations/nobody")
    assert counted() == before + 1
    text = api.get("/metrics").text
    assert api.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("batch_size", "batch_wait_seconds", "shed_total", "outcomes_total"):
        assert f"# TYPE stockgate_{name}" in text or f"# TYPE stockgate_{name[:-6]}" in text


def test_the_document_is_the_one_that_is_served(api: Api) -> None:
    answer = api.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"] == "3.1.0"
    known = {"If-None-Match": answer.headers["etag"]}
    assert api.http.get("/openapi.json", headers=known).status_code == 304


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_documentation_page_is_complete_and_offline(memory_api: Api) -> None:
    page = memory_api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = Links()
    links.feed(page.text)
    assert links.found
    for link in links.found:
        if link.startswith("data:"):
            continue
        assert not link.startswith(("http", "//")), link
        target = str(page.url.join(link).path)
        assert memory_api.get(target).status_code == 200, link


def test_every_problem_has_a_page_in_both_languages(memory_api: Api) -> None:
    listing = memory_api.get("/problems")
    codes = set(re.findall(r'href="problems/([a-z-]+)\?', listing.text))
    assert {"sold-out", "outcome-unknown", "malformed-json"} <= codes
    for code in sorted(codes):
        english = memory_api.get(f"/problems/{code}")
        chinese = memory_api.get(f"/problems/{code}?lang=zh")
        as_data = memory_api.http.get(
            f"/problems/{code}", headers={"Accept": "application/json"}
        ).json()
        assert as_data["code"] == code
        assert code in english.text
        assert code in chinese.text
        assert 'lang="zh' in chinese.text
    refused(memory_api.get("/problems/no-such-code"), 404, "not-found")


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v2/reservations", "/v1/reservations/", "/v1/stock/a/b/../c?x=1"]
)
def test_what_is_not_there_is_a_problem(memory_api: Api, path: str) -> None:
    answer = memory_api.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] in ("not-found", "unknown-sku")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/reservations", "POST"),
        ("PUT", "/v1/reservations", "POST"),
        ("GET", "/v1/reservations/batch/confirm", "POST"),
        ("DELETE", "/v1/reservations/x", "GET, HEAD"),
        ("GET", "/v1/reservations/x/release", "POST"),
        ("POST", "/v1/stock/a", "GET, HEAD"),
        ("DELETE", "/v1/admin/skus/a", "GET, HEAD, PUT"),
        ("PATCH", "/v1/admin/skus", "GET, HEAD"),
        ("GET", "/v1/admin/skus/a/adjustments", "POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("OPTIONS", "/v1/reservations", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    memory_api: Api, method: str, path: str, allow: str
) -> None:
    answer = memory_api.call(method, path)
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    ("languages", "lang"),
    [
        ("zh", "zh"),
        ("zh-Hans-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr", "en"),
        ("", "en"),
    ],
)
def test_problems_speak_the_callers_language(memory_api: Api, languages: str, lang: str) -> None:
    titles = {"en": "There is no such SKU", "zh": "没有该 SKU"}
    answer = memory_api.get("/v1/stock/nowhere", accept_language=languages)
    assert answer.json()["title"] == titles[lang]
    assert answer.headers["content-language"] == lang
    nothing = memory_api.get("/nowhere", accept_language=languages)
    assert nothing.headers["content-language"] == lang
    wrong = memory_api.call("POST", "/docs", headers={"Accept-Language": languages})
    assert wrong.headers["content-language"] == lang


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/stock/nowhere", "/readyz", "/nowhere", "/v1/admin/skus", "/", "/openapi.json"),
        *("/docs", "/docs/docs.js", "/docs/x", "/problems", "/problems/sold-out", "/problems/x"),
    ],
)
def test_a_request_keeps_its_name(memory_api: Api, path: str) -> None:
    answer = memory_api.get(path, x_request_id="cart-7.try_1", traceparent=TRACE)
    assert answer.headers["x-request-id"] == "cart-7.try_1"
    assert answer.headers["traceparent"] == TRACE


@pytest.mark.parametrize("name", ["a b", "x" * 65, "a;b", "a/b"])
def test_a_name_that_is_not_safe_to_log_is_replaced(memory_api: Api, name: str) -> None:
    first = memory_api.get("/livez", x_request_id=name, traceparent="00-zz")
    second = memory_api.get("/livez", x_request_id=name)
    given = [answer.headers["x-request-id"] for answer in (first, second)]
    assert name not in given
    assert len(set(given)) == 2
    assert "traceparent" not in first.headers


def test_the_root_says_where_to_go(memory_api: Api) -> None:
    assert memory_api.get("/").json()["docs"] == "/docs"
    assert memory_api.call("HEAD", "/").status_code == 200
