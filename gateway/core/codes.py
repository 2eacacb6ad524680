"""Reply codes of the Lua commands: the one numbered list shared with lua/includes/codes.lua."""

from enum import IntEnum


class Reply(IntEnum):
    """What a command says about one request; numbers never change their meaning."""

    HELD = 1
    REPLAYED = 2
    IDEMPOTENCY_MISMATCH = 3
    UNKNOWN_SKU = 4
    SALE_NOT_OPEN = 5
    BUYER_LIMIT = 6
    SOLD_OUT = 7
    UNKNOWN_RESERVATION = 8
    DONE = 9
    UNCHANGED = 10
    IS_EXPIRED = 11
    IS_RELEASED = 12
    IS_CONFIRMED = 13
    IS_REJECTED = 14
    PAYMENT_REF_CONFLICT = 15
    INVARIANT_BREACH = 16
    OUT_OF_ORDER = 17
    TOO_FEW = 18
    ILLEGAL = 19
    MORE_DUE = 20
    PAYMENT_REF_USED = 21
    LEASE_TAKEN = 30
    LEASE_GONE = 31
    STALE_FENCE = 32
    REBUILDING = 40
