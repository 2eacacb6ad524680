"""The ASGI application: every operation of the API under its path.

The operations are those of the OpenAPI document, so that what is served and what is described
are one list. The hot calls are found before Starlette's router, which costs as much as they do.
"""

from collections import defaultdict
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.api import admin, docs, platform, storefront
from gateway.api.endpoint import (
    Call,
    Endpoint,
    Handler,
    Methods,
    Receive,
    Reply,
    Scope,
    Send,
    json_reply,
)
from gateway.api.headers import language
from gateway.api.openapi import OPERATIONS
from gateway.api.problems import BadRequest
from gateway.api.services import Services

HANDLERS: Final[dict[str, Handler]] = {
    "createReservation": storefront.create,
    "createReservations": storefront.create_batch,
    "getReservation": storefront.show,
    "beginPayment": storefront.pay,
    "confirmReservation": storefront.confirm,
    "releaseReservation": storefront.release,
    "extendReservation": storefront.extend,
    "getStock": storefront.stock_one,
    "listStock": storefront.stock_many,
    "putSku": admin.put_sku,
    "getSku": admin.get_sku,
    "listSkus": admin.list_skus,
    "adjustStock": admin.adjust,
    "listReservations": admin.list_reservations,
    "getConfig": admin.show_config,
    "isAlive": platform.livez,
    "isReady": platform.readyz,
    "getMetrics": platform.show_metrics,
}
"""By operation id. Documentation pages are served by docs.py."""

RESERVATIONS: Final = "/v1/reservations"
CONFIRM: Final = "/confirm"
ID_START: Final = len(RESERVATIONS) + 1
STOCK: Final = "/v1/stock/"


class App:
    """Finds the hot calls itself and leaves the rest to Starlette."""

    def __init__(self, services: Services) -> None:
        endpoints = _endpoints(services)
        self._create = endpoints[RESERVATIONS]["POST"]
        self._confirm = endpoints[RESERVATIONS + "/{id}/confirm"]["POST"]
        self._stock = endpoints[STOCK + "{sku}"]["GET"]
        self._others = _starlette(services, endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            if method == "POST":
                if path == RESERVATIONS:
                    return await self._create(scope, receive, send)
                if path.endswith(CONFIRM) and path.startswith(RESERVATIONS + "/"):
                    scope["path_params"] = {"id": path[ID_START : -len(CONFIRM)]}
                    return await self._confirm(scope, receive, send)
            elif method == "GET" and path.startswith(STOCK):
                scope["path_params"] = {"sku": path[len(STOCK) :]}
                return await self._stock(scope, receive, send)
        return await self._others(scope, receive, send)


def _endpoints(services: Services) -> dict[str, dict[str, Endpoint]]:
    found: defaultdict[str, dict[str, Endpoint]] = defaultdict(dict)
    for operation in OPERATIONS:
        handler = HANDLERS.get(operation.name)
        if handler is not None:
            endpoint = Endpoint(operation.name, handler, services, scope=operation.scope)
            found[operation.path][operation.method.upper()] = endpoint
    return found


def _starlette(services: Services, endpoints: dict[str, dict[str, Endpoint]]) -> Starlette:
    routes = [Route(path, Methods(services, by_method)) for path, by_method in endpoints.items()]
    routes.append(Route("/", Methods(services, {"GET": _welcome(services)})))
    nowhere = Endpoint("not-found", _not_found, services, scope="")
    pages = docs.routes()
    # Pages answer GET and HEAD themselves; what follows them refuses other methods.
    refusals = [Route(page.path, Methods(services, {"GET": nowhere})) for page in pages]
    return Starlette(
        routes=[*routes, *pages, *refusals, Route("/{path:path}", nowhere)],
        exception_handlers={HTTPException: _as_problem},
    )


def _welcome(services: Services) -> Endpoint:
    async def welcome(_call: Call) -> Reply:
        links = {"docs": "/docs", "openapi": "/openapi.json", "ready": "/readyz"}
        return json_reply(200, {"name": "stockgate", "version": __version__, **links})

    return Endpoint("welcome", welcome, services, scope="")


async def _not_found(_call: Call) -> Reply:
    raise BadRequest("not-found")


async def _as_problem(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, wrong method on a documentation page."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not-found", 405: "method-not-allowed"}.get(status, "internal-error")
    allow = getattr(error, "headers", None) or {}
    given = [(name.lower().encode(), value.encode()) for name, value in allow.items()]
    lang = language(request.headers.get("accept-language", "").encode("latin-1"))
    refusal = BadRequest(code, headers=given)
    status, headers, body = refusal.render(lang=lang, instance=request.url.path)
    response = Response(body, status)
    response.raw_headers = headers
    return response
