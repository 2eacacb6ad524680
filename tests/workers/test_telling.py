"""What the workers tell operations, and how often."""

from gateway.core.config import ReaperConfig, RetentionConfig
from gateway.core.events import Event, EventKind
from gateway.core.model import State
from gateway.ledger import MoveRequest
from gateway.sale.shard import Shard
from gateway.store import keys
from gateway.workers.reaper import Reaper
from tests.ledger.steps import begun
from tests.sale.steps import Sale, request_for, settle_all


async def test_a_rejected_deduction_is_told_once(sale: Sale) -> None:
    await sale.put("lamp", 2)
    first, second = [await sale.confirmed(("lamp", 1)) for _ in range(2)]
    move = await begun(sale.ledger, MoveRequest(sku="lamp", kind="adjust", delta=-1))
    await sale.ledger.finish_move("lamp", move.seq, True)
    told: list[Event] = []
    await settle_all(sale.settler(tell=told.append))
    assert await sale.state(first) is State.SETTLED
    assert told == [Event(EventKind.DEDUCTION_REJECTED, reservation=second)]
    await settle_all(sale.settler(consumer="two", tell=told.append))
    assert len(told) == 1


async def test_the_reaper_tells_how_many_holds_ran_out_and_how_many_are_stuck(sale: Sale) -> None:
    await sale.put("phone", 10)
    await sale.put("case", 10)
    await sale.held(("phone", 1), ttl_ms=1)
    for _ in range(2):
        await sale.held(("case", 1), ttl_ms=1)
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", 1)
    told: list[Event] = []
    at_ms = await sale.redis_now_ms() + 1_000
    ahead = sale.commands(clock_ms=lambda: at_ms)
    reaper = Reaper(ahead, ReaperConfig(), RetentionConfig(), sale.core.clock, tell=told.append)
    await reaper.step()
    assert told == [
        Event(EventKind.HOLDS_EXPIRED, count=2),
        Event(EventKind.HOLDS_STUCK, count=1),
    ]
    told.clear()
    await reaper.step()
    assert told == [], "nothing is told when nothing happened"


async def test_a_breach_is_told_with_the_command_that_met_it(sale: Sale) -> None:
    told: list[Event] = []
    core = sale.core
    shard = Shard(
        0, core.store.channel, core.config, core.clock, core.snapshot.on_pulse, told.append
    )
    shard.start()
    await sale.put("phone", 10)
    await shard.hold.submit(request_for(("phone", 1)))
    assert told == []
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", 1)
    await shard.hold.submit(request_for(("phone", 1)))
    assert told == [Event(EventKind.INVARIANT_BREACHED, cause="hold", count=1)]
    await shard.stop()
