"""Locust scenario `flash`: a crowd at an announced hour, for two scarce SKUs.

Buyers arrive on a clock of their own (an open model: a slow gateway does not slow the crowd),
and a reservation's latency counts from the moment its buyer meant to click. Refusals that the
contract foresees (409, 410, 429) are successes under a name of their own; 5xx and lost answers
are failures. Everything that changes stock is written down, one JSON object a line, in a file
per process under --record-dir; see loadtests/verdict.py for what becomes of it.

This file imports nothing of Stockgate: it is a stranger who has read the API.
"""

import itertools
import json
import os
import random
import time
from pathlib import Path

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, events, task
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner, WorkerRunner

JOURNEYS_A_LANE_MAX = 40  # visitors of one lane inside at once; more wait, and their wait counts
TRIES_MAX = 5
LEAVE_WAIT_S = 12.0  # how long a stopping lane waits for the visitors still inside
FORESEEN = {404, 409, 410}
AFTERWARDS = {  # what a visitor does with the units, and how often
    "pay": 58,
    "double_click": 12,
    "order_again": 8,
    "abandon": 12,
    "pay_late": 5,
    "release": 5,
}
BASKETS = ((70, {"phone": 1}), (20, {"phone": 1, "case": 1}), (10, {"case": 2}))


@events.init_command_line_parser.add_listener
def _options(parser):
    parser.add_argument("--record-dir", default=".", help="where each process writes its record")
    parser.add_argument("--arrivals-per-s", type=float, default=300.0, help="of all lanes together")
    parser.add_argument("--phone-sku", default="load-phone")
    parser.add_argument("--case-sku", default="load-case")
    parser.add_argument("--load-s", type=float, default=30.0, help="how long visitors arrive")
    parser.add_argument("--hold-s", type=float, default=3.0, help="how long the SKUs' holds last")
    parser.add_argument("--api-key", default="", is_secret=True, help="bearer key, if it needs one")
    parser.add_argument("--draw", type=int, default=1, help="seed of the crowd")


class Record:
    """This process's share of what was answered; a line is written before anyone reads on."""

    def __init__(self):
        self._file = None

    def open(self, folder):
        # Named late, by the process that writes: workers are forked from one parent.
        path = Path(folder) / f"record-{os.getpid()}.jsonl"
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, event, **fields):
        self._file.write(json.dumps({"event": event, **fields}) + "\n")


RECORD = Record()
LANES = itertools.count()


@events.test_start.add_listener
def _open_record(environment, **_kwargs):
    RECORD.open(environment.parsed_options.record_dir)


@events.test_start.add_listener
def _end_in_time(environment, **_kwargs):
    """End the load ourselves: with --run-time a master leaves before the last worker's figures."""
    if not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(_end, environment)


def _end(environment):
    gevent.sleep(environment.parsed_options.load_s)
    environment.runner.stop()
    if isinstance(environment.runner, MasterRunner):
        gevent.sleep(WORKER_REPORT_INTERVAL + 1.0)
    environment.runner.quit()


class Lane(FastHttpUser):
    """One stream of visitors: a share of all arrivals, each visitor going their own way."""

    concurrency = JOURNEYS_A_LANE_MAX
    connection_timeout = 5.0
    network_timeout = 10.0

    def on_start(self):
        options = self.environment.parsed_options
        self.options = options
        self.skus = {"phone": options.phone_sku, "case": options.case_sku}
        self.name = f"{getattr(self.environment.runner, 'worker_index', 0)}-{next(LANES)}"
        self.chance = random.Random(f"{options.draw}-{self.name}")
        self.visitors = 0
        self.inside = Pool(JOURNEYS_A_LANE_MAX)
        lanes = max(1, options.num_users or 1)
        self.mean_gap_s = lanes / options.arrivals_per_s
        self.next_s = time.monotonic() + self._gap_s()
        self.common = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}

    def on_stop(self):
        self.inside.join(timeout=LEAVE_WAIT_S)

    def wait_time(self):
        return max(0.0, self.next_s - time.monotonic())

    @task
    def arrive(self):
        now_s = time.monotonic()
        if now_s < self.next_s:
            return  # the lane has only just started
        intended_s, self.next_s = self.next_s, self.next_s + self._gap_s()
        self.visitors += 1
        self.inside.spawn(self.come, f"buyer-{self.name}-{self.visitors}", intended_s)

    def _gap_s(self):
        return self.chance.expovariate(1.0 / self.mean_gap_s)

    # -- a visit ------------------------------------------------------------------------------

    def come(self, buyer, intended_s):
        try:
            self.visit(buyer, intended_s)
        except Exception as error:  # an answer without its fields, or a mistake in this file
            RECORD.write("strange", text=f"{buyer}: {error!r}")
            raise

    def visit(self, buyer, intended_s):
        pick = self.chance
        basket = pick.choices([b for _, b in BASKETS], weights=[w for w, _ in BASKETS])[0]
        lines = [[self.skus[what], quantity] for what, quantity in basket.items()]
        afterwards = pick.choices(list(AFTERWARDS), weights=list(AFTERWARDS.values()))[0]
        if pick.random() < 0.2:
            self.call("GET", f"/v1/stock/{lines[0][0]}", "stock page")
            intended_s = time.monotonic()
        clicks = 2 if afterwards == "double_click" else 1
        order = self.reserve(buyer, lines, f"{buyer}-1", intended_s, clicks)
        if order is not None:
            getattr(self, afterwards)(order, buyer, lines)

    def pay(self, order, buyer, lines):
        self.think()
        self.step(order, "payment")
        self.think()
        self.confirm(order)

    def double_click(self, order, buyer, lines):
        self.think()
        gevent.joinall([gevent.spawn(self.confirm, order) for _ in range(2)])

    def order_again(self, order, buyer, lines):
        """A second basket as large as the limit allows only in parts: the limit must refuse it."""
        phone = [[self.skus["phone"], 1]]
        if any(sku == self.skus["phone"] for sku, _ in lines):
            second = self.reserve(buyer, phone, f"{buyer}-2", time.monotonic())
            if second is not None and self.is_held(order):  # not when the first has run out
                RECORD.write("strange", text=f"{buyer} got a second phone, {second}")
        self.pay(order, buyer, lines)

    def is_held(self, order):
        status, answer, _ = self.call("GET", f"/v1/reservations/{order}", "look")
        return status == 200 and answer["state"] == "held"

    def abandon(self, order, buyer, lines):
        """Leave the units to the deadline."""

    def pay_late(self, order, buyer, lines):
        gevent.sleep(self.options.hold_s + self.chance.uniform(0.2, 1.5))
        self.confirm(order)

    def release(self, order, buyer, lines):
        self.think()
        RECORD.write("told", id=order, belief="unsure")
        status, _, _ = self.step(order, "release")
        if status == 200:
            RECORD.write("told", id=order, belief="released")

    def think(self):
        gevent.sleep(self.chance.uniform(0.05, 0.4))

    # -- calls ----------------------------------------------------------------------------------

    def reserve(self, buyer, lines, key, intended_s, clicks=1):
        """The reservation's id, or None. `clicks` requests with one key go out together."""
        body = {
            "buyer": buyer,
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        }
        jobs = [
            gevent.spawn(self._reserve_once, body, lines, key, intended_s) for _ in range(clicks)
        ]
        gevent.joinall(jobs)
        orders = {job.value for job in jobs if job.value}
        if len(orders) > 1:
            RECORD.write("strange", text=f"key {key} got {len(orders)} reservations")
        return min(orders, default=None)

    def _reserve_once(self, body, lines, key, intended_s):
        headers = {"Idempotency-Key": key}
        path = "/v1/reservations"
        status, answer, replayed = self.call("POST", path, "reserve", body, headers, intended_s)
        if status == 201:
            RECORD.write(
                "accepted", id=answer["id"], buyer=body["buyer"], lines=lines, replayed=replayed
            )
            return answer["id"]
        if status in FORESEEN or status == 429:
            RECORD.write("refused", step="reserve", code=answer.get("code", str(status)))
        else:
            RECORD.write("lost", key=key)
        return None

    def confirm(self, order):
        # Written first: whatever cuts this off, the unit may have been paid for.
        RECORD.write("told", id=order, belief="unsure")
        status, answer, _ = self.step(order, "confirm", {"payment_ref": f"pay-{order}"})
        belief = {200: "settled", 202: "confirmed", 410: "too-late"}.get(status)
        if status == 409 and answer.get("code") == "deduction-rejected":
            belief = "rejected"
        if belief is not None:
            RECORD.write("told", id=order, belief=belief)
        if status in (409, 410):
            RECORD.write("refused", step="confirm", code=answer.get("code", str(status)))
            if not answer.get("refund_required"):
                RECORD.write("strange", text=f"confirm {order}: {status} without a refund")

    def step(self, order, step, body=None):
        return self.call("POST", f"/v1/reservations/{order}/{step}", step, body)

    def call(self, method, path, name, body=None, headers=None, intended_s=None):
        """(status, body, replayed) of one call, tried again with the same key while it may help."""
        for attempt in range(TRIES_MAX):
            status, answer, replayed, wait_s = self._once(
                method, path, name, body, headers, intended_s
            )
            if status not in (0, 429, 503):
                break
            gevent.sleep(min(max(wait_s, 0.1 * 2**attempt), 2.0))
        return status, answer, replayed

    def _once(self, method, path, name, body, headers, intended_s):
        sent_s = time.monotonic()
        with self.client.request(
            method,
            path,
            name=name,
            json=body,
            headers={**self.common, **(headers or {})},
            catch_response=True,
        ) as response:
            status, answer = response.status_code or 0, as_object(response)
            if intended_s is not None:
                response.request_meta["response_time"] += (sent_s - intended_s) * 1000
            if status in FORESEEN or status == 429:
                response.request_meta["name"] = f"{name}: {answer.get('code', status)}"
                response.success()
            elif not 200 <= status < 300:
                problem = f"{status} {answer.get('code', 'no answer')}"
                RECORD.write("failed", step=name, code=problem)
                response.failure(problem)
            given = response.headers or {}
            replayed = given.get("Idempotent-Replayed", "") == "true"
            wait_s = given.get("Retry-After", "")
        return status, answer, replayed, float(wait_s) if wait_s.isdigit() else 0.0


def as_object(response):
    """The JSON object of a response, {} if it is anything else."""
    try:
        decoded = json.loads(response.content or b"{}")
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
