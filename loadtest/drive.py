"""The load generator: sends the requests of plans and records the answers. `loadtest.workers` starts it as a process
of its own, because Locust patches the standard library for gevent when it is imported.

Two modes. open: sessions begin at the times of a Poisson process, whatever happened to earlier sessions, and each
request is timed from the moment when it was due. closed: a fixed number of clients, each with one request at a time.
"""

# Import Locust first: it patches modules that the other imports use.
from locust import FastHttpUser, task  # isort: split

import random
import time
from typing import Any, ClassVar

import gevent
import orjson
from gevent.pool import Group
from locust.env import Environment

from harness.records import Record, server_timing
from loadtest.checks import Reference, Wrong, check
from loadtest.plan import Plan, read_reference, serve_plans
from loadtest.scenarios import Ask, Traffic
from loadtest.traffic import poisson

GRACE_S = 30.0
"""Seconds to wait for answers after the last session began."""


class Client(FastHttpUser):
    """Sends sessions and records their requests' results."""

    abstract = True
    connection_timeout = 30.0
    network_timeout = 150.0
    plan: ClassVar[Plan]
    traffic: ClassVar[Traffic]
    reference: ClassVar[Reference]
    records: ClassVar[list[Record]] = []
    began: ClassVar[float] = 0.0

    def now(self) -> float:
        """Seconds since the load began."""
        return time.perf_counter() - self.began

    def play(self, due: float) -> None:
        """Send one session. A wrong answer ends it, because later requests depend on earlier answers."""
        for ask in self.traffic.session(self.plan.scenario):
            if self.plan.clients and self.now() > self.plan.seconds:
                return
            if ask.think_s and self.plan.think:
                due += ask.think_s
                gevent.sleep(max(0.0, due - self.now()))
            if not self.send(ask, due):
                return
            due = self.now()

    def send(self, ask: Ask, due: float) -> bool:
        """Send one request; returns whether the answer is correct."""
        if ask.route not in self.plan.by_id:
            ask = ask.whole()
        data, headers = _body(ask, self.plan)
        sent = self.now()
        with self.client.request(
            "POST",
            ask.route,
            name=ask.kind,
            data=data,  # type: ignore[arg-type]
            headers=headers,
            catch_response=True,
        ) as answer:
            done = self.now()
            error = self._problem(ask, answer)
            if error:
                answer.failure(error)
            told = answer.headers or {}
            cache, stages = server_timing(told.get("server-timing", ""))
            retry_after = "retry-after" in told
        size = len(answer.content or b"")
        self.records.append(
            Record(
                ask.kind, due, sent, done, answer.status_code or 0, error, size, cache, stages, retry_after
            )
        )
        return not error

    def _problem(self, ask: Ask, answer: Any) -> str:
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.error or answer.text or ''}"[:300]
        try:
            check(ask, answer.content, self.reference)
        except Wrong as wrong:
            return f"wrong answer: {wrong}"[:300]
        return ""


class Closed(Client):
    """One of a fixed number of clients."""

    @task
    def session(self) -> None:
        """Send the next session, at once after the last one."""
        if self.now() < self.plan.seconds:
            self.play(self.now())
        else:
            gevent.sleep(0.1)


class Open(Client):
    """All clients of an open loop: each session is a greenlet that begins when it is due."""

    concurrency = 10_000
    fixed_count = 1

    @task
    def arrivals(self) -> None:
        """Send every session of the plan once."""
        sessions = Group()
        for due in poisson(self.plan.rate, self.plan.seconds, random.Random(self.plan.run)):
            gevent.sleep(max(0.0, due - self.now()))
            sessions.spawn(self.play, due)
        sessions.join(timeout=GRACE_S)
        self.environment.runner.quit()


def _body(ask: Ask, plan: Plan) -> tuple[bytes, dict[str, str]]:
    headers = {"Content-Type": "application/json"}
    if plan.api_key:
        headers["Authorization"] = f"Bearer {plan.api_key}"
    if not (plan.multipart and ask.send):
        return orjson.dumps(ask.document), headers
    boundary = b"---------------------------7e0loadtest"
    headers["Content-Type"] = f"multipart/form-data; boundary={boundary.decode()}"
    parts = [
        b'Content-Disposition: form-data; name="request"\r\n\r\n' + orjson.dumps(ask.fields),
        *(
            b'Content-Disposition: form-data; name="image"; filename="image.jpg"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n" + file
            for file in ask.files
        ),
    ]
    return b"".join(
        b"--%b\r\n%b\r\n" % (boundary, part) for part in parts
    ) + b"--%b--\r\n" % boundary, headers


def drive(plan: Plan) -> list[Record]:
    """Send the plan's requests; returns their records."""
    kind: type[Client] = Closed if plan.clients else Open
    Client.plan, Client.reference, Client.records = plan, read_reference(plan.reference), []
    Client.traffic = Traffic(plan.corpus(), plan.run, random.Random(f"{plan.run} sessions"))
    environment = Environment(user_classes=[kind], host=plan.url, catch_exceptions=False)
    environment.stop_timeout = GRACE_S
    runner = environment.create_local_runner()
    Client.began = time.perf_counter()
    runner.start(plan.clients or 1, spawn_rate=plan.clients or 1)
    if plan.clients:
        gevent.sleep(plan.seconds)
        runner.quit()
    else:
        runner.greenlet.join()
    return Client.records


if __name__ == "__main__":
    serve_plans(drive)
