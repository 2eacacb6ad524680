"""The ASGI application: every operation of the API under its path.

The operations are those of the OpenAPI document, so that what is served and what is described
are one list. The hot calls are found before Starlette's router, which costs as much as they do.
"""

from collections import defaultdict
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route

from gateway import __version__
from gateway.api import admin, admin_audits, admin_letters, docs, platform, storefront
from gateway.api.direct import DirectCreate, DirectStock
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
    "listDeadLetters": admin_letters.list_letters,
    "getDeadLetter": admin_letters.show,
    "retryDeadLetter": admin_letters.retry,
    "dismissDeadLetter": admin_letters.dismiss,
    "listAudits": admin_audits.list_audits,
    "getAudit": admin_audits.show,
    "startAudit": admin_audits.start,
    "getConfig": admin.show_config,
    "isAlive": platform.livez,
    "isReady": platform.readyz,
    "getMetrics": platform.show_metrics,
    "getOpenApi": docs.openapi,
    "getProblem": docs.problem,
}
"""By operation id. Pages that are no operation are in docs.PAGES."""

RESERVATIONS: Final = "/v1/reservations"
CONFIRM: Final = "/confirm"
ID_START: Final = len(RESERVATIONS) + 1
STOCK: Final = "/v1/stock/"


class App:
    """Finds the hot calls itself and leaves the rest to Starlette."""

    def __init__(self, services: Services) -> None:
        endpoints = _endpoints(services)
        self._create = endpoints[RESERVATIONS]["POST"]
        self.direct_create = DirectCreate(services, self._create)
        self._confirm = endpoints[RESERVATIONS + "/{id}/confirm"]["POST"]
        self._stock = endpoints[STOCK + "{sku}"]["GET"]
        self.direct_stock = DirectStock(services, self._stock)
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
        handler = HANDLERS[operation.name]
        endpoint = Endpoint(operation.name, handler, services, scope=operation.scope)
        found[operation.path][operation.method.upper()] = endpoint
    return found


def _starlette(services: Services, endpoints: dict[str, dict[str, Endpoint]]) -> Starlette:
    found = dict(endpoints)
    for path, handler in {"/": _welcome, **docs.PAGES}.items():
        found[path] = {"GET": Endpoint(path, handler, services, scope="")}
    routes = [Route(path, Methods(services, by_method)) for path, by_method in found.items()]
    nowhere = Endpoint("not-found", _not_found, services, scope="")
    return Starlette(routes=[*routes, Route("/{path:path}", nowhere)])


async def _welcome(_call: Call) -> Reply:
    links = {"docs": "/docs", "openapi": "/openapi.json", "ready": "/readyz"}
    return json_reply(200, {"name": "stockgate", "version": __version__, **links})


async def _not_found(_call: Call) -> Reply:
    raise BadRequest("not-found")
