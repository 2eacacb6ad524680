"""The pages for people: complete, offline, and safe."""

import re
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from gateway.api.app import App
from gateway.api.docs import LABELS, MEDIA_TYPES, read_asset
from gateway.api.language import LANGUAGES
from gateway.api.problem_samples import explanation
from gateway.api.problems import CATALOGUE
from gateway.api.services import Services
from gateway.core.clock import SystemClock
from gateway.core.config import Config

ASSETS = [*MEDIA_TYPES, "docs.html", "problem.html", "problems.html"]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    services = cast(Services, SimpleNamespace(clock=SystemClock(), config=Config()))
    transport = httpx.ASGITransport(App(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as made:
        yield made


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/docs", "text/html"),
        ("/docs/docs.css", "text/css"),
        ("/docs/docs.js", "text/javascript"),
        ("/openapi.json", "application/json"),
        ("/problems", "text/html"),
        ("/problems/sold-out", "text/html"),
    ],
)
async def test_pages_are_served_and_revalidated(
    client: httpx.AsyncClient, path: str, media_type: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


@pytest.mark.parametrize(
    "path",
    ["/docs/problem.html", "/docs/../docs.py", "/docs/x", "/problems/x", "/problems/%3Cb%3E"],
)
async def test_other_paths_are_problems(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    if path != "/docs/../docs.py":
        assert answer.json()["code"] == "not-found"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", sorted(CATALOGUE))
async def test_every_problem_has_its_page(client: httpx.AsyncClient, code: str, lang: str) -> None:
    page = (await client.get(f"/problems/{code}", headers={"Accept-Language": lang})).text
    assert f"<code>{code}</code>" in page
    assert ("\u542b\u4e49" in page) == (lang == "zh")
    assert "$" not in page
    assert str(CATALOGUE[code].status) in page
    assert (
        f'href="problems/{code}?lang={lang}"' in (await client.get(f"/problems?lang={lang}")).text
    )


async def test_a_problem_as_json(client: httpx.AsyncClient) -> None:
    answer = await client.get("/problems/sold-out", headers={"Accept": "application/json"})
    assert answer.json() == explanation("sold-out", "en")


async def test_the_language_can_be_chosen_on_the_page(client: httpx.AsyncClient) -> None:
    assert "库存不足" in (await client.get("/problems/sold-out?lang=zh")).text
    assert "库存不足" not in (await client.get("/problems/sold-out?lang=xx")).text


async def test_without_scripts_the_reference_leads_to_the_document(
    client: httpx.AsyncClient,
) -> None:
    page = (await client.get("/docs")).text
    assert "Loading…" in page
    without_scripts = re.findall(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
    assert any('href="openapi.json"' in part for part in without_scripts)


async def test_pages_name_the_request(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs", headers={"X-Request-Id": "visit-7"})
    assert answer.headers["x-request-id"] == "visit-7"


@pytest.mark.parametrize("name", ASSETS)
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    text = read_asset(name).decode()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(""", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"<script>|\son\w+=|style=", text)


def test_labels_are_in_both_languages() -> None:
    for name, texts in LABELS.items():
        assert all(texts), name
