"""Who comes to the demo sale, when, and what each of them will do: drawn from one seed."""

from enum import StrEnum

import msgspec

from gateway.core.chance import Random, seeded


class Kind(StrEnum):
    """What a buyer does once a unit is held for them."""

    PAYS = "pays"
    DOUBLE_CLICKS = "double-clicks"
    SECOND_ORDER = "tries a second order"
    ABANDONS = "abandons the cart"
    PAYS_LATE = "pays late"
    CHANGES_MIND = "changes their mind"


SHARES = {
    Kind.PAYS: 0.55,
    Kind.DOUBLE_CLICKS: 0.12,
    Kind.SECOND_ORDER: 0.08,
    Kind.ABANDONS: 0.13,
    Kind.PAYS_LATE: 0.07,
    Kind.CHANGES_MIND: 0.05,
}
SAFETY_SHARE = 0.02
RUSH_EXPONENT = 2.0  # above 1 the crowd presses in early, as at an announced hour


class Buyer(msgspec.Struct, frozen=True):
    """One buyer of the plan. Times in seconds; `arrive_s` counts from the sale's opening."""

    name: str
    kind: Kind
    arrive_s: float
    look_s: float  # from the held unit to the payment page
    pay_s: float  # from the payment page to the confirm
    late_s: float  # how far behind the deadline a late payer confirms


class SalePlan(msgspec.Struct, frozen=True):
    """A whole sale: one SKU, its units (safety stock included) and everyone who comes."""

    run: str
    sku: str
    units: int
    safety_stock: int
    hold_ttl_s: int
    buyers: tuple[Buyer, ...]

    @property
    def on_sale(self) -> int:
        """Units that holds may take."""
        return self.units - self.safety_stock

    def terms_wanted(self) -> dict[str, int]:
        """The body that sets the SKU up."""
        return {
            "on_hand": self.units,
            "safety_stock": self.safety_stock,
            "buyer_limit": 1,
            "hold_ttl_s": self.hold_ttl_s,
        }


def draw_plan(
    *, run: str, seed: int, buyers: int, units: int, hold_ttl_s: int, rush_s: float
) -> SalePlan:
    """Draw a sale from `seed`; the crowd arrives within `rush_s` seconds, most of it early."""
    chance = seeded(seed)
    kinds = list(SHARES)
    drawn = chance.choices(kinds, weights=[SHARES[kind] for kind in kinds], k=buyers)
    crowd = (_draw_buyer(chance, run, number, kind, rush_s) for number, kind in enumerate(drawn))
    return SalePlan(
        run=run,
        sku=f"demo-{run}",
        units=units,
        safety_stock=int(units * SAFETY_SHARE),
        hold_ttl_s=hold_ttl_s,
        buyers=tuple(sorted(crowd, key=lambda buyer: buyer.arrive_s)),
    )


def _draw_buyer(chance: Random, run: str, number: int, kind: Kind, rush_s: float) -> Buyer:
    return Buyer(
        name=f"buyer-{run}-{number:05d}",
        kind=kind,
        arrive_s=rush_s * chance.random() ** RUSH_EXPONENT,
        look_s=chance.uniform(0.05, 0.4),
        pay_s=chance.uniform(0.05, 0.6),
        late_s=chance.uniform(0.3, 1.5),
    )
