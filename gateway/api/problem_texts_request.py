"""What problems say about the request itself and about the gateway, in English and Chinese.

`{summary}` is made of the field errors.
"""

from typing import Final

from gateway.api.language import EN, ZH, Text

MALFORMED: Final[dict[str, dict[str, Text]]] = {
    "malformed-json": {
        EN: Text(
            "The body is not JSON",
            "{summary} Nothing was changed. Correct the body before you send it again.",
            "The body could not be read as one JSON value in UTF-8. The detail names the first "
            "byte that does not fit. Build bodies with a JSON library, not by joining strings.",
        ),
        ZH: Text(
            "请求体不是 JSON",
            "{summary}未做任何更改。请修正请求体后再发送。",
            "请求体无法作为一个 UTF-8 编码的 JSON 值读取。detail 指出第一个不符合的字节。"
            "请使用 JSON 库生成请求体，不要拼接字符串。",
        ),
    },
    "invalid-request": {
        EN: Text(
            "The request has fields or parameters that are not acceptable",
            "{summary} Nothing was changed. Correct what `errors` lists before you send it again.",
            "Each entry of `errors` points at a field (`pointer`, RFC 6901; of a missing field, "
            "where it should be) or names a `parameter` of the query, and says what it must be. "
            "Repeating the same request cannot succeed.",
        ),
        ZH: Text(
            "请求中有不符合要求的字段或参数",
            "{summary}未做任何更改。请按 errors 所列修正后再发送。",
            "errors 的每一项用 pointer（RFC 6901）指向字段（缺少字段时指向其应在的位置），"
            "查询参数则用 parameter 指明，"
            "并说明要求。原样重发不会成功。",
        ),
    },
    "idempotency-key-missing": {
        EN: Text(
            "The Idempotency-Key header is missing",
            "This call needs an `Idempotency-Key` header, so that a repetition after a lost "
            "answer cannot buy twice. Make one for each purchase and keep it for the retries.",
            "Make a key for each thing the buyer decides to do (a UUID will do), store it with "
            "the cart, and send the same key with every retry of the same request.",
        ),
        ZH: Text(
            "缺少 Idempotency-Key 请求头",
            "此调用需要 `Idempotency-Key` 请求头，以免应答丢失后重发造成重复购买。"
            "请为每次购买生成一个键，重试时沿用。",
            "买家每做一个决定就生成一个键（例如 UUID），与购物车一起保存，"
            "同一请求的每次重试都带同一个键。",
        ),
    },
    "idempotency-key-malformed": {
        EN: Text(
            "The Idempotency-Key header is malformed",
            "The `Idempotency-Key` must be sent once, as 1 to 255 printable ASCII characters, "
            "bare or as a quoted string. Nothing was changed.",
            'Both `Idempotency-Key: abc` and `Idempotency-Key: "abc"` are accepted and mean the '
            'same key. Inside quotes only `\\"` and `\\\\` may be escaped.',
        ),
        ZH: Text(
            "Idempotency-Key 请求头格式不正确",
            "`Idempotency-Key` 须只出现一次，为 1 至 255 个可打印 ASCII 字符，"
            "可不加引号，也可写成带引号的字符串。未做任何更改。",
            '`Idempotency-Key: abc` 与 `Idempotency-Key: "abc"` 都可以，表示同一个键。'
            '引号内只允许转义 `\\"` 和 `\\\\`。',
        ),
    },
    "idempotency-mismatch": {
        EN: Text(
            "This Idempotency-Key belongs to another request",
            "The `Idempotency-Key` was used before with a different body. Use a new key for a "
            "new request, or repeat the first body exactly.",
            "A key stands for one request. Its first body is what counts; a request with the same "
            "key and other content is refused rather than guessed at.",
        ),
        ZH: Text(
            "该 Idempotency-Key 已用于另一个请求",
            "该 `Idempotency-Key` 曾与不同的请求体一起使用。"
            "新请求请换新键，或原样重发第一次的内容。",
            "一个键代表一个请求，以第一次的内容为准；键相同而内容不同的请求会被拒绝。",
        ),
    },
    "body-too-large": {
        EN: Text(
            "The body is too large",
            "The body is larger than {limit} bytes, the most this call accepts. "
            "Split it into smaller requests.",
            "Batches take up to 500 reservations and must also stay below the size limit.",
        ),
        ZH: Text(
            "请求体过大",
            "请求体超过此调用允许的上限 {limit} 字节。请拆分为较小的请求。",
            "批量请求最多 500 个预订，且总大小也须低于上限。",
        ),
    },
    "unsupported-media-type": {
        EN: Text(
            "The body's media type is not supported",
            "Send the body with `Content-Type: application/json` (UTF-8). Nothing was changed.",
            "The header may be missing, name another type, or name a charset other than utf-8.",
        ),
        ZH: Text(
            "不支持该请求体类型",
            "请使用 `Content-Type: application/json`（UTF-8）发送请求体。未做任何更改。",
            "可能缺少该请求头、写成了其他类型，或指定了 utf-8 以外的字符集。",
        ),
    },
    "request-timeout": {
        EN: Text(
            "The body did not arrive in time",
            "The body was not complete after {timeout_s} seconds, so nothing was done. "
            "Send the request again with the same Idempotency-Key.",
            "The connection was too slow or stalled. Nothing happened: retrying is safe.",
        ),
        ZH: Text(
            "请求体未及时到达",
            "{timeout_s} 秒内未收到完整的请求体，因此未做任何处理。请用同一 Idempotency-Key 重发。",
            "连接过慢或中断。没有任何变化，可以放心重试。",
        ),
    },
    "not-found": {
        EN: Text(
            "There is nothing at this address",
            "No call of this API has this path. The reference is at /docs.",
            "Check the path's spelling and its version (`/v1`). A missing reservation or SKU has "
            "a code of its own.",
        ),
        ZH: Text(
            "该地址不存在",
            "此 API 没有该路径的调用。参考文档见 /docs。",
            "请检查路径拼写与版本（`/v1`）。预订或 SKU 不存在时有各自的错误码。",
        ),
    },
    "method-not-allowed": {
        EN: Text(
            "This address does not take that method",
            "The method is not possible here; the `Allow` header lists those that are.",
            "The path is right, the method is not. See the `Allow` header or /docs.",
        ),
        ZH: Text(
            "该地址不支持此方法",
            "此处不支持该方法；可用方法见 `Allow` 响应头。",
            "路径正确，但方法不对。请查看 `Allow` 响应头或 /docs。",
        ),
    },
}

ACCESS: Final[dict[str, dict[str, Text]]] = {
    "unauthorized": {
        EN: Text(
            "A valid key is needed",
            "Send `Authorization: Bearer <key>` with a key this gateway knows. "
            "The one sent is missing, malformed or unknown.",
            "Keys are set in the gateway's configuration, stored hashed. Ask whoever runs it for "
            "a key with the scope you need.",
        ),
        ZH: Text(
            "需要有效的密钥",
            "请用 `Authorization: Bearer <key>` 发送本网关认识的密钥。"
            "当前密钥缺失、格式不正确或未知。",
            "密钥在网关配置中设置，以哈希形式保存。请向运维人员索取具有所需权限的密钥。",
        ),
    },
    "forbidden": {
        EN: Text(
            "The key does not allow this",
            "This call needs the scope `{scope}`, which the key sent does not have. "
            "Use a key with that scope.",
            "Scopes are `storefront` (reservations and stock), `admin` (SKUs, listings) and "
            "`metrics`. The key is valid, but not for this call.",
        ),
        ZH: Text(
            "该密钥无此权限",
            "此调用需要权限 `{scope}`，所发送的密钥不具备。请使用具有该权限的密钥。",
            "权限分为 `storefront`（预订与库存）、`admin`（SKU 与列表）和 `metrics`。"
            "密钥有效，但不能用于此调用。",
        ),
    },
}

BROKEN: Final[dict[str, dict[str, Text]]] = {
    "overloaded": {
        EN: Text(
            "Too many requests at this moment",
            "The gateway's queue is full, so the request was refused before anything happened. "
            "Retry after the time in `Retry-After` with the same Idempotency-Key.",
            "Refusing at once keeps the answers to everyone else fast. Nothing was changed.",
        ),
        ZH: Text(
            "当前请求过多",
            "网关队列已满，请求在处理之前即被拒绝。"
            "请在 `Retry-After` 之后用同一 Idempotency-Key 重试。",
            "立即拒绝可保证其他请求的响应速度。未做任何更改。",
        ),
    },
    "store-unavailable": {
        EN: Text(
            "The stock store cannot be reached",
            "The store that keeps reservations did not accept the request, and nothing was "
            "changed. Retry after the time in `Retry-After` with the same Idempotency-Key.",
            "The gateway reconnects by itself. /readyz tells when it serves again.",
        ),
        ZH: Text(
            "库存存储不可用",
            "保存预订的存储未接受此请求，未做任何更改。"
            "请在 `Retry-After` 之后用同一 Idempotency-Key 重试。",
            "网关会自动重连，恢复情况见 /readyz。",
        ),
    },
    "outcome-unknown": {
        EN: Text(
            "It is not known whether the request took effect",
            "The request reached the store, but its answer was lost. Retry with the same "
            "Idempotency-Key (or repeat the same call): the answer will be the one true outcome.",
            "Do not start over with a new key, or the buyer may get two reservations.",
        ),
        ZH: Text(
            "无法确定请求是否生效",
            "请求已送达存储，但应答丢失。请用同一 Idempotency-Key 重试（或重复同一调用）,"
            "即可得到唯一真实的结果。",
            "不要换新键重新开始，否则买家可能得到两个预订。",
        ),
    },
    "ledger-unavailable": {
        EN: Text(
            "The ledger cannot be reached",
            "The ledger did not answer, and this request changed nothing in it. "
            "Retry after the time in `Retry-After`.",
            "Reservations and confirms go on without the ledger; confirmed sales are settled when "
            "it returns.",
        ),
        ZH: Text(
            "账本不可用",
            "账本没有应答，此请求未在其中造成任何更改。请在 `Retry-After` 之后重试。",
            "账本不可用期间预订与确认照常进行；恢复后会完成已确认交易的结算。",
        ),
    },
    "rebuilding": {
        EN: Text(
            "The stock of this SKU is being rebuilt",
            "The store lost data, and a SKU in this request is closed until its stock is rebuilt "
            "from the ledger. Nothing was changed. Retry after the time in `Retry-After` with the "
            "same Idempotency-Key.",
            "SKUs reopen one by one. Confirms and releases are refused as well while theirs is "
            "closed; none is lost when it is sent again.",
        ),
        ZH: Text(
            "该 SKU 的库存正在重建",
            "存储丢失了数据，请求中的某个 SKU 在库存按账本重建完成之前暂停销售。未做任何更改。"
            "请在 `Retry-After` 之后用同一 Idempotency-Key 重试。",
            "各 SKU 会逐个恢复。暂停期间该 SKU 的确认与释放同样会被拒绝，重发即可，不会丢失。",
        ),
    },
    "stock-inconsistent": {
        EN: Text(
            "The stock of this SKU is being checked",
            "The counters of a SKU in this request contradict each other, so the change was "
            "refused to protect the stock. Operations are alerted. Do not repeat the request until "
            "they have repaired the SKU.",
            "No unit moves on counters that do not add up. `stockgate verify` shows the SKU and "
            "the difference; an administrator must repair it. Nothing was changed, so the same "
            "request with the same Idempotency-Key may be sent once that is done.",
        ),
        ZH: Text(
            "该 SKU 的库存正在核对",
            "请求中某个 SKU 的计数互相矛盾，为保护库存已拒绝此变更。"
            "运维已收到告警，修复完成之前请勿重发。",
            "计数不平时不移动任何库存。`stockgate verify` 会显示该 SKU 及差异，须由管理员修复。"
            "此请求未造成任何更改，修复后可用同一 Idempotency-Key 重新发送。",
        ),
    },
    "internal-error": {
        EN: Text(
            "The gateway made a mistake",
            "An unexpected error ended this request. Retry with the same Idempotency-Key; if it "
            "happens again, report the request id `{request_id}`.",
            "This is a fault of the gateway, not of the request. The log has the details under "
            "the request id.",
        ),
        ZH: Text(
            "网关内部错误",
            "发生意外错误，请求已终止。请用同一 Idempotency-Key 重试；若再次出现，"
            "请报告请求编号 `{request_id}`。",
            "这是网关的故障，与请求无关。日志中可按请求编号查到详情。",
        ),
    },
}
