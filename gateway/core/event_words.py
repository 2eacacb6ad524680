"""The words for what operations are told, in English and Chinese: one line each."""

from typing import Literal, NamedTuple

from gateway.core.events import EventKind, Notice, Severity
from gateway.core.times import rfc3339

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class _Words(NamedTuple):
    """What happened, and what to do first."""

    title: str
    advice: str


def headline(notice: Notice, language: Language) -> str:
    """What happened, to what, how often and why: one line."""
    phrases = _PHRASES[language]
    severity = _SEVERITIES[language][notice.severity]
    title = f"[Stockgate] {severity}: {_WORDS[language][notice.kind].title}"
    parts = [f"{title} ({notice.count})" if notice.count > 1 else title]
    if notice.skus:
        parts.append(f"SKU {', '.join(notice.skus)}")
    if notice.reservations:
        parts.append(f"{phrases['reservation']} {', '.join(notice.reservations)}")
    if notice.times > 1:
        first, last = rfc3339(notice.first_ms), rfc3339(notice.last_ms)
        parts.append(phrases["times"].format(times=notice.times, first=first, last=last))
    reason = ": ".join(part for part in (notice.cause, notice.detail) if part)
    return "; ".join([*parts, reason] if reason else parts)


def advice(notice: Notice, language: Language) -> str:
    """What to do first: one line."""
    return f"{_PHRASES[language]['first']}{_WORDS[language][notice.kind].advice}"


_PHRASES: dict[Language, dict[str, str]] = {
    "en": {
        "reservation": "reservation",
        "times": "{times} times from {first} to {last}",
        "first": "First: ",
    },
    "zh": {
        "reservation": "预留",
        "times": "{first} 至 {last} 共 {times} 次",
        "first": "请先:",
    },
}

_SEVERITIES: dict[Language, dict[Severity, str]] = {
    "en": {
        Severity.INFO: "info",
        Severity.WARNING: "warning",
        Severity.CRITICAL: "critical",
    },
    "zh": {
        Severity.INFO: "信息",
        Severity.WARNING: "警告",
        Severity.CRITICAL: "严重",
    },
}

_ENGLISH = {
    EventKind.HOLDS_EXPIRED: _Words(
        "holds ran out and their units are on sale again",
        "nothing, unless there are far more than usual: then look at the payment pages.",
    ),
    EventKind.HOLDS_RELEASED: _Words(
        "reservations that had gone stale were released",
        "see with `stockgate reservation show ID` whether their buyers have paid, and refund them.",
    ),
    EventKind.HOLDS_STUCK: _Words(
        "holds past their deadline cannot expire: a SKU of theirs does not add up",
        "run `stockgate verify`; it names the SKU and the counter.",
    ),
    EventKind.DEDUCTION_REJECTED: _Words(
        "the ledger refused to deduct a confirmed reservation",
        "refund the buyer, then compare the SKU in `stockgate stock list` with the warehouse.",
    ),
    EventKind.SETTLING_STUCK: _Words(
        "confirmed reservations are not being settled",
        "see on /readyz whether Redis and the ledger answer; confirms wait and are not lost.",
    ),
    EventKind.SETTLING_RESUMED: _Words(
        "settling goes on again",
        "nothing; what had waited is being settled.",
    ),
    EventKind.DEAD_LETTER_ADDED: _Words(
        "a reservation cannot be settled and was put aside as a dead letter",
        "read the reason in GET /v1/admin/dead-letters, remove it, then retry the letter.",
    ),
    EventKind.DRIFT_FOUND: _Words(
        "Redis and the ledger disagree",
        "run `stockgate verify`; if the repair does not follow by itself, stop selling the SKU.",
    ),
    EventKind.DRIFT_REPAIRED: _Words(
        "a disagreement between Redis and the ledger was repaired",
        "read what was before and after in the audit report, and look for what caused it.",
    ),
    EventKind.INVARIANT_BREACHED: _Words(
        "a change was refused because a SKU's counters do not add up",
        "run `stockgate verify`; the SKU sells nothing until its counters agree.",
    ),
    EventKind.STORE_LOST: _Words(
        "Redis lost data or went back in time: nothing is sold until it is rebuilt",
        "run the command in the detail; it rebuilds Redis from the ledger.",
    ),
    EventKind.STORE_REBUILT: _Words(
        "Redis is what the ledger says again, and selling goes on",
        "find out why Redis lost data; see with `stockgate verify` that all adds up.",
    ),
    EventKind.SKU_KEPT_CLOSED: _Words(
        "a SKU could not be rebuilt and stays closed",
        "read the detail, then run `stockgate rebuild` again.",
    ),
    EventKind.SAFETY_USED: _Words(
        "a sale was covered from the safety stock",
        "nothing if payments come late; otherwise compare the SKU with the warehouse.",
    ),
    EventKind.FUSE_OPENED: _Words(
        "demand opened the fuse: buyers now queue",
        "nothing if a sale has just begun; otherwise look for a robot among the buyers.",
    ),
    EventKind.FUSE_HALF_OPEN: _Words(
        "the fuse is being tried: a part of the demand is let through",
        "nothing.",
    ),
    EventKind.FUSE_CLOSED: _Words("the fuse is closed again: buyers reserve directly", "nothing."),
    EventKind.TEST: _Words("this is a test", "nothing; notifications arrive here."),
}

_CHINESE = {
    EventKind.HOLDS_EXPIRED: _Words(
        "有预留到期,库存已重新开售",
        "无需处理;若远多于平时,请检查支付页面。",
    ),
    EventKind.HOLDS_RELEASED: _Words(
        "已释放长期停滞的预留",
        "用 `stockgate reservation show ID` 查看买家是否已付款,已付款的请退款。",
    ),
    EventKind.HOLDS_STUCK: _Words(
        "到期的预留无法释放:相关 SKU 的计数对不上",
        "运行 `stockgate verify`,它会指出 SKU 和计数项。",
    ),
    EventKind.DEDUCTION_REJECTED: _Words(
        "账本拒绝扣减一笔已确认的预留",
        "给买家退款,再把 `stockgate stock list` 中的 SKU 与仓库核对。",
    ),
    EventKind.SETTLING_STUCK: _Words(
        "已确认的预留没有在扣减",
        "在 /readyz 查看 Redis 和账本是否正常;确认会等待,不会丢失。",
    ),
    EventKind.SETTLING_RESUMED: _Words("扣减已恢复", "无需处理;积压的预留正在扣减。"),
    EventKind.DEAD_LETTER_ADDED: _Words(
        "有预留无法扣减,已转入死信",
        "在 GET /v1/admin/dead-letters 查看原因,排除后重试该死信。",
    ),
    EventKind.DRIFT_FOUND: _Words(
        "Redis 与账本不一致",
        "运行 `stockgate verify`;若没有随后自动修复,请停售该 SKU。",
    ),
    EventKind.DRIFT_REPAIRED: _Words(
        "Redis 与账本的不一致已修复",
        "在审计报告中查看修复前后的数值,并查找原因。",
    ),
    EventKind.INVARIANT_BREACHED: _Words(
        "SKU 的计数对不上,变更已被拒绝",
        "运行 `stockgate verify`;计数恢复一致之前该 SKU 不会售出。",
    ),
    EventKind.STORE_LOST: _Words(
        "Redis 丢失了数据或回到了过去:重建之前停止销售",
        "运行详情中的命令,按账本重建 Redis。",
    ),
    EventKind.STORE_REBUILT: _Words(
        "Redis 已与账本一致,恢复销售",
        "查明 Redis 丢失数据的原因;运行 `stockgate verify` 确认数据一致。",
    ),
    EventKind.SKU_KEPT_CLOSED: _Words(
        "某个 SKU 无法重建,继续暂停销售",
        "阅读详情,然后再次运行 `stockgate rebuild`。",
    ),
    EventKind.SAFETY_USED: _Words(
        "有订单由安全库存补足",
        "若因付款较晚则无需处理;否则请核对该 SKU 与仓库的实际库存。",
    ),
    EventKind.FUSE_OPENED: _Words(
        "请求过多,熔断已打开:买家开始排队",
        "若刚刚开售则无需处理;否则请检查买家中是否有机器人。",
    ),
    EventKind.FUSE_HALF_OPEN: _Words("熔断试探中:放行部分请求", "无需处理。"),
    EventKind.FUSE_CLOSED: _Words("熔断已关闭:买家可直接预留", "无需处理。"),
    EventKind.TEST: _Words("这是一条测试消息", "无需处理;通知可以送达此处。"),
}

_WORDS: dict[Language, dict[EventKind, _Words]] = {"en": _ENGLISH, "zh": _CHINESE}
