"""What problems say about stock, sales and reservations, in English and Chinese."""

from typing import Final

from gateway.api.language import EN, ZH, Text

SELLING: Final[dict[str, dict[str, Text]]] = {
    "unknown-sku": {
        EN: Text(
            "There is no such SKU",
            "The SKU `{sku}` is not in this gateway's catalogue. Check its spelling; case counts.",
            "A SKU exists once an administrator has put it (`PUT /v1/admin/skus/{sku}`). "
            "Repeating the request helps only after that.",
        ),
        ZH: Text(
            "没有该 SKU",
            "本网关的目录中没有 SKU `{sku}`。请检查拼写（区分大小写）。",
            "管理员创建（`PUT /v1/admin/skus/{sku}`）之后 SKU 才存在，此前重试没有作用。",
        ),
    },
    "sold-out": {
        EN: Text(
            "Not enough stock",
            "No unit of `{sku}` is available. Units come back when unpaid holds end: watch "
            "GET /v1/stock/{sku} rather than repeating this request.",
            "`available` is what could be reserved at that moment. No line of the request was "
            "reserved. Repeating at once does not help; ask for fewer units or watch the stock.",
        ),
        ZH: Text(
            "库存不足",
            "`{sku}` 已无可预订库存。未付款的预订到期后库存会释放："
            "请关注 GET /v1/stock/{sku}，不要反复提交。",
            "available 是当时可预订的数量。本请求的任何一行都未预订。立即重试没有作用；"
            "请减少数量或关注库存。",
        ),
    },
    "buyer-limit": {
        EN: Text(
            "The buyer's limit is reached",
            "One buyer may hold and own at most {limit} of `{sku}`, and this request would exceed "
            "that. Ask for fewer units, or release a reservation first.",
            "Held, confirmed and settled units of the buyer count together; released and expired "
            "ones do not. Repeating the same request does not help.",
        ),
        ZH: Text(
            "已达购买上限",
            "每位买家最多可持有和购买 {limit} 件 `{sku}`，本请求将超过上限。"
            "请减少数量，或先释放已有预订。",
            "该买家已预订、已确认和已结算的数量合并计算；已释放和已过期的不计。原样重发没有作用。",
        ),
    },
    "sale-not-open": {
        EN: Text(
            "The sale has not opened",
            "`{sku}` goes on sale at {opens_at}. Ask again then; `Retry-After` says how long.",
            "Holds are made only within the SKU's sale window. Before it, wait for `opens_at` (the "
            "gateway's clock counts); after it, the problem carries `closed_at` instead and a "
            "retry cannot help.",
        ),
        ZH: Text(
            "尚未开售",
            "`{sku}` 将于 {opens_at} 开售。请届时再试；等待时间见 `Retry-After`。",
            "只有在 SKU 的销售时段内才能预订。开售前请等到 opens_at（以网关时钟为准）；"
            "结束后返回 closed_at，重试没有作用。",
        ),
    },
    "fuse-open": {
        EN: Text(
            "Stock is tight, please try again later",
            "So many buyers want `{sku}` that new requests go to its presale queue. "
            "Join it, or try again after the time in `Retry-After`.",
            "More requests arrive for the SKU than can be served at once. Places in the presale "
            "queue are served in order, and an admitted ticket is a hold already made.",
        ),
        ZH: Text(
            "库存紧张,请稍后再试",
            "`{sku}` 的请求过多，新请求将进入预售队列。请加入队列，或在 `Retry-After` 之后再试。",
            "该 SKU 的请求超过了可即时处理的数量。预售队列按顺序放行，放行的号即已完成预订。",
        ),
    },
}

RESERVATION: Final[dict[str, dict[str, Text]]] = {
    "unknown-reservation": {
        EN: Text(
            "There is no such reservation",
            "No reservation with this id is known: it was never made, or it ended long ago.",
            "Ended reservations are forgotten after the retention time. Use the id exactly as the "
            "201 answer gave it.",
        ),
        ZH: Text(
            "没有该预订",
            "没有该编号的预订：它从未创建，或早已结束。",
            "已结束的预订在保留期之后会被清除。请原样使用 201 应答给出的 id。",
        ),
    },
    "reservation-expired": {
        EN: Text(
            "The reservation has expired",
            "The hold ended before this request, and its units are on sale "
            "again. Make a new reservation.",
            "A late confirm is honoured while units are left, from available stock and then from "
            "safety stock. If neither suffices the answer carries `refund_required: true`: the "
            "buyer's payment must be returned.",
        ),
        ZH: Text(
            "预订已过期",
            "该预订的保留时间在此请求之前已结束，其库存已重新开售。请重新预订。",
            "迟到的确认在仍有库存时会被接受：先用可售库存，再用安全库存。若都不足，"
            "应答带有 refund_required: true，须向买家退款。",
        ),
    },
    "reservation-released": {
        EN: Text(
            "The reservation was released",
            "The reservation was released and cannot be used any more. Make a new one; if the "
            "buyer has paid, return the payment.",
            "A release is final: its units went back on sale at once. A payment that arrives for "
            "a released reservation must be refunded.",
        ),
        ZH: Text(
            "预订已释放",
            "该预订已释放，不能再使用。请重新预订；若买家已付款，请退款。",
            "释放不可撤销，其库存已立即重新开售。对已释放预订的付款须退回。",
        ),
    },
    "reservation-confirmed": {
        EN: Text(
            "The reservation is already confirmed",
            "The reservation is already `{state}`: it is sold, and cannot be released, extended "
            "or paid again. Returns are a matter of the ledger.",
            "After the confirm the units belong to the buyer. To take them back, refund the buyer "
            "and have an administrator adjust the stock.",
        ),
        ZH: Text(
            "预订已确认",
            "该预订已处于 `{state}` 状态：已售出，不能再释放、延长或付款。退货请走账务流程。",
            "确认之后商品归买家所有。如需收回，请退款并由管理员调整库存。",
        ),
    },
    "deduction-rejected": {
        EN: Text(
            "The ledger refused the deduction",
            "The final deduction of the reservation was refused for lack of stock. The sale did "
            "not happen: return the buyer's payment.",
            "The ledger alone decides what is sold. It refuses when it owns fewer units than were "
            "confirmed, for example after a loss in the warehouse. The refusal is final.",
        ),
        ZH: Text(
            "账本拒绝扣减",
            "该预订的最终扣减因库存不足被拒绝。交易未成立：请向买家退款。",
            "是否售出由账本决定。当账本实有库存少于已确认数量（例如仓库短缺）时会拒绝。该结果不可更改。",
        ),
    },
    "payment-ref-conflict": {
        EN: Text(
            "The payment has bought another reservation",
            "This `payment_ref` has already paid for another reservation. Nothing was changed; "
            "confirm with the reference of a payment that was made for this reservation.",
            "One payment reference buys one reservation. Repeating a confirm with the reference "
            "it was made with answers as the first time. With `refund_required` a second payment "
            "was taken for a reservation that is paid: return the one named in `payment_ref`.",
        ),
        ZH: Text(
            "该付款已用于另一预订",
            "该 `payment_ref` 已为另一预订付款。未作任何更改；请使用为本预订所付款项的付款号确认。",
            "一个付款号只能购买一个预订。用原付款号重复确认会得到与首次相同的应答。"
            "若 refund_required 为真，说明已付款的预订又收到一笔付款："
            "请退回 payment_ref 所指的款项。",
        ),
    },
    "receipt-invalid": {
        EN: Text(
            "The receipt is not valid for this reservation",
            "The `receipt` cannot be accepted: {summary} Nothing was confirmed.",
            "A receipt counts only as it was given out, in every character, and only for its own "
            "reservation. It also ends when the secret that signed it is taken out of the "
            "configuration. Send it unchanged, or confirm without it.",
        ),
        ZH: Text(
            "凭证对该预订无效",
            "无法接受 `receipt`：{summary}未确认任何内容。",
            "凭证必须与签发时逐字相同，且只对其自身的预订有效；签发密钥从配置中移除后也会失效。"
            "请原样提交，或不带凭证确认。",
        ),
    },
    "adjustment-refused": {
        EN: Text(
            "The stock change would take units that are promised",
            "Only {available} of `{sku}` are free; the change asks for more. Units held or "
            "confirmed by buyers cannot be taken. Take at most what is free.",
            "Stock may not fall below what is held, confirmed or set aside as safety stock. Lower "
            "the safety stock first, or wait for holds to end.",
        ),
        ZH: Text(
            "库存变更将占用已承诺的数量",
            "`{sku}` 只有 {available} 件可动用，变更所需超过此数。"
            "买家已预订或已确认的数量不能动用。",
            "库存不得低于已预订、已确认与安全库存之和。请先降低安全库存，或等待预订结束。",
        ),
    },
}

# The same code said differently when a parameter is truthy (`problems.Entry.variant_on`).
VARIANTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "sold-out": {
        EN: (
            "Not enough stock",
            "Only {available} of `{sku}` can be reserved now, fewer than this request asks for, "
            "so none was. Ask for at most {available}.",
        ),
        ZH: (
            "库存不足",
            "`{sku}` 目前只可预订 {available} 件，少于请求数量，因此未预订任何商品。"
            "请将数量减至 {available} 件以内。",
        ),
    },
    "sale-not-open": {
        EN: (
            "The sale has ended",
            "The sale of `{sku}` ended at {closed_at}. Repeating the request does not help.",
        ),
        ZH: ("销售已结束", "`{sku}` 的销售已于 {closed_at} 结束。重试没有作用。"),
    },
    "reservation-expired": {
        EN: (
            "The reservation has expired",
            "The reservation ended before the payment arrived, and its units are sold to "
            "others. Return the buyer's payment; repeating the confirm does not help.",
        ),
        ZH: (
            "预订已过期",
            "该预订在付款到达之前已过期，其库存已售予他人。请向买家退款；重复确认没有作用。",
        ),
    },
    "payment-ref-conflict": {
        EN: (
            "The reservation was paid with another payment",
            "The reservation was confirmed with a different `payment_ref`, so the buyer has paid "
            "twice. Return the payment `{payment_ref}`; repeating the confirm does not help.",
        ),
        ZH: (
            "该预订已用另一笔付款确认",
            "该预订已用不同的 `payment_ref` 确认，买家重复付款。"
            "请退回付款 `{payment_ref}`；重复确认没有作用。",
        ),
    },
}
