"""Documentation for people: the reference at /docs, one page a problem, and openapi.json.

Everything is served from the package: no page loads anything from elsewhere.
"""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Final, NamedTuple

import msgspec

from gateway.api.endpoint import Call, Handler, Reply
from gateway.api.headers import etag_matches
from gateway.api.language import EN, LANGUAGES, Text
from gateway.api.openapi import document_bytes
from gateway.api.problem_samples import explanation, sample
from gateway.api.problem_texts import TEXTS
from gateway.api.problems import CATALOGUE, BadRequest, Entry

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = (
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"Accept, Accept-Language"),
)
HTML: Final = "text/html; charset=utf-8"
MEDIA_TYPES: Final = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
}

# What the problem pages say around a problem's own words: English, Chinese.
LABELS: Final[dict[str, tuple[str, str]]] = {
    "html_lang": ("en", "zh-Hans"),
    "all": ("All problems", "全部问题"),
    "reference": ("API reference", "API 参考"),
    "status": ("Status", "状态码"),
    "retry": ("Retry", "重试"),
    "retry_yes": ("The same request can succeed later", "同一请求稍后可能成功"),
    "retry_no": ("Repeating the same request does not help", "原样重发没有作用"),
    "advice": ("What it means and what to do", "含义与处理办法"),
    "example": ("An example", "示例"),
    "intro": (
        "Every refusal carries one of these codes. Programs decide by `code`; people read "
        "`title` and `detail`.",
        "每个拒绝都带有以下错误码之一。程序依据 code 判断，title 与 detail 供人阅读。",
    ),
    "other": ("中文", "English"),
    "other_lang": ("zh", "en"),
    "other_html_lang": ("zh-Hans", "en"),
}


class Page(NamedTuple):
    """A ready answer: its bytes, type and ETag."""

    body: bytes
    media_type: bytes
    etag: bytes


async def reference(call: Call) -> Reply:
    """GET /docs"""
    return _send(call, _reference())


async def asset(call: Call) -> Reply:
    """GET /docs/{name}"""
    name = call.parameter("name")
    if name not in MEDIA_TYPES:
        raise BadRequest("not-found")
    return _send(call, _asset_page(name))


async def openapi(call: Call) -> Reply:
    """GET /openapi.json"""
    return _send(call, _openapi_page())


async def problem_list(call: Call) -> Reply:
    """GET /problems"""
    return _send(call, _problem_list(_language_of(call)))


async def problem(call: Call) -> Reply:
    """GET /problems/{code}"""
    code = call.parameter("code")
    if code not in CATALOGUE:
        raise BadRequest("not-found")
    lang = _language_of(call)
    as_json = b"json" in call.headers.get(b"accept", b"")
    return _send(call, _problem_json(code, lang) if as_json else _problem_page(code, lang))


PAGES: Final[dict[str, Handler]] = {
    "/docs": reference,
    "/docs/{name}": asset,
    "/problems": problem_list,
}
"""The pages that the OpenAPI document does not describe, by path."""


def _language_of(call: Call) -> str:
    query = call.scope["query_string"].split(b"&")
    return next((lang for lang in LANGUAGES if f"lang={lang}".encode() in query), call.lang)


def _send(call: Call, page: Page) -> Reply:
    headers = [(b"etag", page.etag), *PAGE_HEADERS]
    if etag_matches(call.headers.get(b"if-none-match"), page.etag):
        return Reply(304, headers, b"")
    headers.append((b"content-type", page.media_type))
    headers.append((b"content-length", b"%d" % len(page.body)))
    return Reply(200, headers, page.body)


def _page(body: bytes, media_type: str) -> Page:
    return Page(body, media_type.encode(), f'"{sha256(body).hexdigest()[:24]}"'.encode())


def read_asset(name: str) -> bytes:
    """A file of gateway/api/assets, as it is packaged."""
    return (files("gateway.api") / "assets" / name).read_bytes()


@cache
def _template(name: str) -> Template:
    return Template(read_asset(name).decode("utf-8"))


@cache
def _reference() -> Page:
    return _page(read_asset("docs.html"), HTML)


@cache
def _asset_page(name: str) -> Page:
    return _page(read_asset(name), MEDIA_TYPES[name])


@cache
def _openapi_page() -> Page:
    return _page(document_bytes(), "application/json")


@cache
def _problem_json(code: str, lang: str) -> Page:
    return _page(msgspec.json.encode(explanation(code, lang)), "application/json")


@cache
def _problem_page(code: str, lang: str) -> Page:
    return _page(problem_html(code, lang).encode(), HTML)


@cache
def _problem_list(lang: str) -> Page:
    return _page(problem_list_html(lang).encode(), HTML)


def problem_html(code: str, lang: str) -> str:
    """The page of one problem."""
    entry, text, say = CATALOGUE[code], TEXTS[code][lang], _labels(lang)
    example = msgspec.json.format(msgspec.json.encode(sample(code, lang)), indent=2).decode()
    return _template("problem.html").substitute(
        _escaped(say),
        code=escape(code),
        title=escape(text.title),
        advice_text=_marked(text.advice),
        status_code=entry.status,
        retry_text=escape(_retry_text(entry, say)),
        example_text=escape(example),
    )


def problem_list_html(lang: str) -> str:
    """The page that lists every code, by status."""
    say = _labels(lang)
    by_status = sorted(CATALOGUE, key=lambda code: (CATALOGUE[code].status, code))
    rows = "\n".join(_row(code, CATALOGUE[code], TEXTS[code][lang], say) for code in by_status)
    return _template("problems.html").substitute(
        _escaped(say), rows=rows, intro_text=_marked(say["intro"])
    )


def _row(code: str, entry: Entry, text: Text, say: dict[str, str]) -> str:
    retry_text = escape(_retry_text(entry, say))
    retry = f'<span role="img" aria-label="{retry_text}">↻</span>' if entry.retryable else ""
    return (
        f'<tr><td><a href="problems/{escape(code)}?lang={say["lang"]}"><code>{escape(code)}</code>'
        f"</a></td><td>{entry.status}</td><td>{escape(text.title)}</td>"
        f'<td title="{retry_text}">{retry}</td></tr>'
    )


def _retry_text(entry: Entry, say: dict[str, str]) -> str:
    return say["retry_yes"] if entry.retryable else say["retry_no"]


def _labels(lang: str) -> dict[str, str]:
    return {name: texts[lang != EN] for name, texts in LABELS.items()} | {"lang": lang}


def _escaped(labels: dict[str, str]) -> dict[str, str]:
    return {name: escape(text) for name, text in labels.items()}


def _marked(text: str) -> str:
    """Escaped text in which `code` is set as code."""
    parts = escape(text).split("`")
    tags: tuple[Callable[[str], str], ...] = (str, "<code>{}</code>".format)
    return "".join(tags[number % 2](part) for number, part in enumerate(parts))
