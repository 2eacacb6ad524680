"""kill -9 in the middle of selling: what was answered is there, what was not happens once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.selling_child import BATCH, batch_of
from tests.ledger.steps import assert_clean, open_ledger, put, row_of

ROOT = Path(__file__).parents[2]


def sell_until_killed(url: str, answers: int) -> int:
    """Returns the number of the last batch that the child saw answered."""
    command = [sys.executable, "-m", "tests.ledger.selling_child", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(answers):
            assert child.stdout.readline(), "the child ended by itself"
        child.kill()
        rest = child.stdout.read().split("\n")[:-1]  # a torn last line was not answered
    return answers - 1 + len(rest)


@pytest.mark.parametrize("answers", [1, 7, 23])
async def test_answered_batches_survive_and_the_rest_happens_once(
    kept_url: str, answers: int
) -> None:
    units = 1_000_000
    ledger = await open_ledger(kept_url)
    await put(ledger, "phone", units)
    await put(ledger, "case", units)
    await ledger.close()

    last = sell_until_killed(kept_url, answers)

    ledger = await open_ledger(kept_url)
    await assert_clean(ledger)
    answered = [d.reservation_id for n in range(last + 1) for d in batch_of(n)]
    assert await ledger.unknown_of(answered) == []
    for number in range(last + 3):
        assert all(outcome.settled for outcome in await ledger.deduct(batch_of(number)))
    sold = (last + 3) * BATCH
    assert (await row_of(ledger, "phone")).on_hand == units - sold
    assert (await row_of(ledger, "case")).on_hand == units - 2 * sold
    await assert_clean(ledger)
    await ledger.close()
