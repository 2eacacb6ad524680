"""What problems say about audits, in English and Chinese."""

from typing import Final

from gateway.api.language import EN, ZH, Text

AUDITS: Final[dict[str, dict[str, Text]]] = {
    "unknown-audit": {
        EN: Text(
            "There is no such audit",
            "No audit has this id. GET /v1/admin/audits lists them all.",
            "Audits are kept for good. Use the id as the listing, or the Location of the audit "
            "that was started, gave it.",
        ),
        ZH: Text(
            "没有该审计",
            "没有该编号的审计。GET /v1/admin/audits 可列出全部审计。",
            "审计记录会一直保留。请使用列表或启动审计时 Location 中给出的编号。",
        ),
    },
}
