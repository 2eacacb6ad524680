"""A command that refuses writes nothing: the whole database is the same, byte for byte."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.core.codes import Reply
from tests.store.shop import START_MS, TTL_MS, Shop, field_of, request

R = Reply
Refusal = tuple[Callable[[Shop], Awaitable[Any]], Any]


def hold(*args: Any, **options: Any) -> Callable[[Shop], Awaitable[Any]]:
    async def call(shop: Shop) -> Reply:
        return Reply((await shop.hold(*args, **options)).code)

    return call


def step(name: str, *args: Any) -> Callable[[Shop], Awaitable[Any]]:
    return lambda shop: getattr(shop, name)(*args)


def finish(name: str, key: str) -> Callable[[Shop], Awaitable[Any]]:
    return lambda shop: getattr(shop.commands, name)([("0-1", field_of(key))])


REFUSALS: dict[str, Refusal] = {
    "unknown sku": (hold("new", ("ghost", 1)), R.UNKNOWN_SKU),
    "second line unknown": (hold("new", ("phone", 1), ("ghost", 1)), R.UNKNOWN_SKU),
    "sold out": (hold("new", ("empty", 1)), R.SOLD_OUT),
    "second line sold out": (hold("new", ("phone", 1), ("empty", 1)), R.SOLD_OUT),
    "too many": (hold("new", ("phone", 1000)), R.SOLD_OUT),
    "buyer limit": (hold("new", ("limited", 1)), R.BUYER_LIMIT),
    "too early": (hold("new", ("later", 1)), R.SALE_NOT_OPEN),
    "replay": (hold("held", ("phone", 1)), R.REPLAYED),
    "mismatch": (hold("held", ("phone", 2)), R.IDEMPOTENCY_MISMATCH),
    **{
        f"{name}{args} of {key}": (step(name, key, *args), getattr(R, word))
        for name, args, codes in [
            ("pay", (), "UNCHANGED IS_CONFIRMED IS_CONFIRMED IS_REJECTED IS_RELEASED IS_EXPIRED"),
            (
                "confirm",
                ("pay-2",),
                "- PAYMENT_REF_CONFLICT PAYMENT_REF_CONFLICT IS_REJECTED IS_RELEASED -",
            ),
            ("confirm", ("",), "- UNCHANGED UNCHANGED IS_REJECTED IS_RELEASED -"),
            (
                "confirm",
                ("pay-settled",),
                "PAYMENT_REF_USED PAYMENT_REF_USED UNCHANGED PAYMENT_REF_USED PAYMENT_REF_USED "
                "PAYMENT_REF_USED",
            ),
            ("release", (), "- IS_CONFIRMED IS_CONFIRMED IS_REJECTED UNCHANGED IS_EXPIRED"),
            (
                "extend",
                (1,),
                "UNCHANGED IS_CONFIRMED IS_CONFIRMED IS_REJECTED IS_RELEASED IS_EXPIRED",
            ),
        ]
        for key, word in zip(
            ("paying", "confirmed", "settled", "rejected", "released", "expired"),
            codes.split(),
            strict=True,
        )
        if word != "-"
    },
    **{
        f"{name} of nothing": (step(name, "ghost", *args), R.UNKNOWN_RESERVATION)
        for name, args in [("pay", ()), ("confirm", ()), ("release", ()), ("extend", (1,))]
    },
    "settle held": (finish("settle", "held"), [R.ILLEGAL]),
    "reject settled": (finish("reject", "settled"), [R.ILLEGAL]),
    "same movement": (lambda shop: shop.move("phone", 9, seq=1), (R.UNCHANGED, 0)),
    "old movement": (lambda shop: shop.move("limited", 9, seq=1), (R.OUT_OF_ORDER, 2)),
    "movement of an unknown sku": (
        lambda shop: shop.move("ghost", 1, seq=2),
        (R.UNKNOWN_SKU, 0),
    ),
    "nothing due": (lambda shop: shop.commands.expire_due(100), (0, 0, 0)),
    "nothing to forget": (lambda shop: shop.commands.forget_ended(1000, 100), (0, 0)),
    "show": (lambda shop: shop.commands.show([field_of("ghost")]), (START_MS + TTL_MS, [b""])),
    "snapshot": (lambda shop: shop.commands.snapshot(["ghost"]), (START_MS + TTL_MS, [])),
}


async def stock(shop: Shop) -> None:
    await shop.put("phone", 100)
    await shop.put("empty", 1)
    await shop.put("limited", 10)
    await shop.put("limited", 0, buyer_limit=1)
    await shop.put("later", 10, sale_starts_ms=START_MS + 10 * TTL_MS)
    await shop.held("expired", ("empty", 1))
    shop.pass_ms(TTL_MS)
    await shop.expire()
    await shop.held("taken", ("empty", 1))
    keys = ("held", "paying", "confirmed", "settled", "rejected", "released")
    await shop.hold_all(*map(request, keys), request("limited", ("limited", 1)))
    await shop.pay("paying")
    await shop.release("released")
    for key in ("confirmed", "settled", "rejected"):
        await shop.confirm(key, f"pay-{key}")
    await shop.settle("settled")
    await shop.reject("rejected")


async def test_refused_commands_write_nothing(shop: Shop) -> None:
    await stock(shop)
    before = await shop.dump()
    for name, (call, wanted) in REFUSALS.items():
        assert await call(shop) == wanted, name
        assert await shop.dump() == before, name


async def test_a_whole_batch_of_refusals_writes_nothing(shop: Shop) -> None:
    await stock(shop)
    before = await shop.dump()
    answers = await shop.hold_all(
        request("n1", ("phone", 99), ("empty", 1)),
        request("n2", ("limited", 1), ("phone", 1)),
        request("held"),
        request("n3", ("phone", 1000)),
    )
    wanted = [R.SOLD_OUT, R.BUYER_LIMIT, R.REPLAYED, R.SOLD_OUT]
    assert [answer.code for answer in answers] == wanted
    assert await shop.dump() == before


async def test_the_dump_sees_every_kind_of_write(shop: Shop) -> None:
    """The proof above is worth something only if a write shows."""
    await stock(shop)
    for write in (
        lambda: shop.hold("new"),
        lambda: shop.extend("held", 2 * TTL_MS),
        lambda: shop.pay("held"),
        lambda: shop.confirm("held"),
        lambda: shop.settle("held"),
        lambda: shop.move("phone", 0, 1),
    ):
        before = await shop.dump()
        await write()
        assert await shop.dump() != before


@pytest.mark.parametrize("command", ["pay", "release", "extend"])
async def test_only_its_own_expiry_is_written_by_a_step_that_came_late(
    shop: Shop, command: str
) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    await shop.held("other")
    shop.pass_ms(TTL_MS)
    step_args = (TTL_MS,) if command == "extend" else ()
    assert await getattr(shop, command)("a", *step_args) is R.IS_EXPIRED
    before = await shop.dump()
    assert await getattr(shop, command)("a", *step_args) is R.IS_EXPIRED
    assert await shop.dump() == before
