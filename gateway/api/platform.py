"""Health, metrics and documentation: what the platform around the gateway asks."""

from gateway.api.endpoint import Call, Reply, json_reply
from gateway.core import metrics

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
NO_STORE = (b"cache-control", b"no-store")


async def livez(_call: Call) -> Reply:
    """GET /livez"""
    return _text(b"alive\n", b"text/plain; charset=utf-8", NO_STORE)


async def readyz(call: Call) -> Reply:
    """GET /readyz"""
    faults = call.services.not_ready()
    if faults:
        return json_reply(503, {"ready": False, "not_ready": faults}, (b"retry-after", b"1"))
    promises = {"confirm": call.services.config.confirm.durability}
    notices = list(call.services.notices)
    return json_reply(200, {"ready": True, "promises": promises, "notices": notices})


async def show_metrics(_call: Call) -> Reply:
    """GET /metrics"""
    return _text(metrics.exposition(), METRICS_TYPE, NO_STORE)


def _text(body: bytes, content_type: bytes, *more: tuple[bytes, bytes]) -> Reply:
    length = (b"content-length", b"%d" % len(body))
    return Reply(200, [(b"content-type", content_type), length, *more], body)
