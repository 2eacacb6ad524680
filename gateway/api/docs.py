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
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.headers import etag_matches, language
from gateway.api.language import EN, LANGUAGES, Text
from gateway.api.openapi import document_bytes
from gateway.api.problem_samples import sample
from gateway.api.problem_texts import TEXTS
from gateway.api.problems import CATALOGUE, Entry, render

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
    media_type: str
    etag: str


def routes() -> list[Route]:
    """Every route of the documentation."""
    return [
        Route("/docs", _docs),
        Route("/docs/{name}", _asset),
        Route("/openapi.json", _openapi),
        Route("/problems", _problems),
        Route("/problems/{code}", _problem),
    ]


async def _docs(request: Request) -> Response:
    return _send(request, _reference())


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    return _send(request, _asset_page(name)) if name in MEDIA_TYPES else _missing(request)


async def _openapi(request: Request) -> Response:
    return _send(request, _openapi_page())


async def _problems(request: Request) -> Response:
    return _send(request, _problem_list(_language_of(request)))


async def _problem(request: Request) -> Response:
    code = request.path_params["code"]
    if code not in CATALOGUE:
        return _missing(request)
    lang = _language_of(request)
    as_json = "json" in request.headers.get("accept", "")
    return _send(request, _problem_json(code, lang) if as_json else _problem_page(code, lang))


def _language_of(request: Request) -> str:
    asked = request.query_params.get("lang", "")
    if asked in LANGUAGES:
        return asked
    return language(request.headers.get("accept-language", "").encode("latin-1"))


def _send(request: Request, page: Page) -> Response:
    headers = {
        "ETag": page.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept, Accept-Language",
    }
    known = request.headers.get("if-none-match", "").encode("latin-1")
    if etag_matches(known, page.etag.encode()):
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=page.media_type, headers=headers)


def _missing(request: Request) -> Response:
    lang = _language_of(request)
    status, headers, body = render("not-found", lang=lang, instance=request.url.path)
    response = Response(body, status_code=status)
    response.raw_headers = headers
    return response


def _page(body: bytes, media_type: str) -> Page:
    return Page(body, media_type, f'"{sha256(body).hexdigest()[:24]}"')


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


def explanation(code: str, lang: str) -> dict[str, object]:
    """What a program may want to know about a code."""
    entry, text = CATALOGUE[code], TEXTS[code][lang]
    return {
        "code": code,
        "status": entry.status,
        "retryable": entry.retryable,
        "title": text.title,
        "advice": text.advice,
        "example": sample(code, lang),
    }


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
