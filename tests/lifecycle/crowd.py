"""A crowd that buys until the server goes, and remembers every answer."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from tests.http.api import Api, fresh

BUYERS = 8


class Crowd:
    """Each buyer reserves one unit under a key of its own, again and again.

    Of every four reservations one is paid for and one released. What a call was answered is kept;
    a call that was cut off ends its buyer.
    """

    def __init__(self, url: str, sku: str) -> None:
        self._url = url
        self._sku = sku
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.made: dict[str, Any] = {}  # key -> the 201
        self.refused: dict[str, int] = {}  # key -> any other status
        self.paid: dict[str, int] = {}  # id -> status of the confirm
        self.released: dict[str, int] = {}  # id -> status of the release
        self.cut_off = 0

    @contextmanager
    def buying(self) -> Iterator["Crowd"]:
        """They buy while the block runs; its end waits for their last answers."""
        with ThreadPoolExecutor(BUYERS) as pool:
            buyers = [pool.submit(self._buy) for _ in range(BUYERS)]
            try:
                yield self
            finally:
                self._stop.set()
            _raise_bugs(buyers)

    def answers(self) -> int:
        """How many calls were answered."""
        return len(self.made) + len(self.paid) + len(self.released)

    def _buy(self) -> None:
        with httpx.Client(base_url=self._url, timeout=15, trust_env=False) as http:
            try:
                for number in range(100_000):
                    if self._stop.is_set():
                        return
                    self._buy_once(http, number)
            except httpx.TransportError:
                with self._lock:
                    self.cut_off += 1

    def _buy_once(self, http: httpx.Client, number: int) -> None:
        key = fresh("crowd")
        answer = http.post("/v1/reservations", json=self.body(key), headers=_key(key))
        if answer.status_code != 201:
            self.refused[key] = answer.status_code
            return
        self.made[key] = answer.json()
        made = answer.json()["id"]
        if number % 4 == 0:
            confirm = http.post(f"/v1/reservations/{made}/confirm", json={"payment_ref": made})
            self.paid[made] = confirm.status_code
        elif number % 4 == 1:
            release = http.post(f"/v1/reservations/{made}/release")
            self.released[made] = release.status_code

    def body(self, key: str) -> dict[str, Any]:
        """What the buyer sends under this key."""
        return {"buyer": key, "lines": [{"sku": self._sku, "quantity": 1}]}

    def judge(self, api: Api) -> None:
        """Everything that was answered is there, and the units add up."""
        for made, status in self.paid.items():
            assert status in (200, 202)
            assert api.confirm(made, made).json()["state"] == "settled"
        for made, status in self.released.items():
            assert status == 200
            assert api.state(made) == "released"
        for key, answer in self.made.items():
            again = api.reserve(self._sku, key=key, buyer=key)
            assert again.headers.get("idempotent-replayed") == "true", (key, again.text)
            assert again.json()["id"] == answer["id"]
            if answer["id"] not in {*self.paid, *self.released} and not self.cut_off:
                assert again.json()["expires_at"] == answer["expires_at"]


def _key(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def _raise_bugs(buyers: "list[Future[None]]") -> None:
    for buyer in buyers:
        buyer.result()
