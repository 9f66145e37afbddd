"""The services that the handlers call, simulated on one loopback port.

They keep their state in memory, remember idempotency keys, count what they are asked and
what they do, and have only the troubles given to them.

    with Gateways([Trouble("POST /billing", times=2)]) as gateways:
        print(gateways.url, gateways.effects())
"""

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A failure of the first calls of one kind."""

    calls: str  #: those whose method and path begin so: "POST /billing"
    about: str = ""  #: only those that mention this in path or body
    times: int = 1
    status: int = 503  #: what they are answered; 0: as if nothing were wrong
    retry_after: int | None = None  #: seconds
    slow_s: float = 0.0  #: how long the answer takes
    answer_lost: bool = False  #: the call has its effect, and only its answer is lost
    answer: Body | None = field(default=None, hash=False)  #: None: a message

    def meets(self, request: "Request") -> bool:
        """Whether a call is of this kind."""
        return f"{request.method} {request.path}".startswith(self.calls) and (
            self.about in request.path or self.about in json.dumps(request.body)
        )


USUAL_TROUBLES = (
    Trouble(calls="POST /payments", times=1, retry_after=1),
    Trouble(calls="POST /billing", times=1, retry_after=1),
)
"""What goes wrong where nobody says otherwise: enough to see a retry."""


class Request(NamedTuple):
    method: str
    path: str
    key: str  #: its idempotency key; "": none
    body: Body


class Answer(NamedTuple):
    status: int
    body: Body
    effect: str = ""  #: what was done for the first time, as "refunds"


def _no(status: int, message: str) -> Answer:
    return Answer(status, {"message": message})


class Gateways:
    """All services, behind one URL.

    Args:
        troubles: What goes wrong; the first that fits a call and is not used up.
        pace_s: How long every answer takes, so that people can watch.
        looks: How often one must look at an approval until somebody has decided.
    """

    def __init__(
        self, troubles: Iterable[Trouble] = (), *, pace_s: float = 0.0, looks: int = 2
    ) -> None:
        self._troubles = tuple(troubles)
        self._met: Counter[Trouble] = Counter()
        self._pace_s = pace_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._services = Services(looks)
        self._remembered: dict[tuple[str, str, str], Answer] = {}
        self._asked: list[Request] = []
        self._done: list[tuple[str, Request]] = []
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.gateways = self
        threading.Thread(target=self._serve, name="gateways", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def effects(self, keys: Iterable[str] = ("",)) -> Counter[str]:
        """Count what was done, by kind.

        Args:
            keys: What the idempotency keys that count begin with, as task ids.
        """
        starts = tuple(keys)
        return Counter(kind for kind, request in list(self._done) if request.key.startswith(starts))

    def asked(self, keys: Iterable[str] = ("",)) -> Counter[str]:
        """Count how often the services were asked for what they did: see `effects`."""
        starts = tuple(keys)
        kinds = {request[:3]: kind for kind, request in list(self._done)}
        return Counter(
            kinds[asked[:3]]
            for asked in list(self._asked)
            if asked[:3] in kinds and asked.key.startswith(starts)
        )

    def calls(self, start: str) -> int:
        """Count the calls whose method and path begin with `start`, as "POST /billing"."""
        return sum(f"{asked.method} {asked.path}".startswith(start) for asked in list(self._asked))

    def answer(self, request: Request) -> tuple[Answer, int | None]:
        """Answer a call: what, and after how many seconds it may be repeated."""
        trouble = self._trouble(request)
        self._closing.wait(self._pace_s + (trouble.slow_s if trouble else 0))
        if trouble is None or trouble.status == 0 or trouble.answer_lost:
            answer = self._served(request)
            if trouble is None or trouble.status == 0:
                return answer, None
        phrase = {"message": HTTPStatus(trouble.status).phrase}
        body = phrase if trouble.answer is None else trouble.answer
        return Answer(trouble.status, body), trouble.retry_after

    def _served(self, request: Request) -> Answer:
        known = (request.method, request.path, request.key)
        with self._lock:
            if request.key and request.method == "POST" and known in self._remembered:
                return self._remembered[known]
            answer = self._services.answer(request)
            if answer.status < 300:
                self._remembered[known] = answer
            if answer.effect:
                self._done.append((answer.effect, request))
            return answer

    def _trouble(self, request: Request) -> Trouble | None:
        with self._lock:
            self._asked.append(request)
            for trouble in self._troubles:
                if self._met[trouble] < trouble.times and trouble.meets(request):
                    self._met[trouble] += 1
                    return trouble
        return None

    # ------------------------------------------------------------------ running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Complete the current requests immediately, and stop listening."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)


@cache
def own_gateways() -> Gateways:
    """Return the gateways of this process, started at the first call."""
    return Gateways(USUAL_TROUBLES)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    gateways: Gateways

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a caller that went away go: handlers are cancelled, and time out."""


class _Connection(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(
            self.command,
            unquote(self.path),
            self.headers.get("Idempotency-Key", ""),
            json.loads(content) if content else {},
        )
        answer, retry_after = self.server.gateways.answer(request)
        text = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 - the base class asks for these names
    do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: the terminal is for the demo."""


# ----------------------------------------------------------------------- services

CAPTURED = 100_000
"""What every payment once brought in."""

TICKETS: Mapping[str, Mapping[str, Any]] = {
    "TICKET-2001": {"status": "closed"},
    "TICKET-2002": {"status": "cancelled"},
    "TICKET-2003": {"status": "duplicate"},
    "TICKET-2004": {"status": "being_migrated"},
    "TICKET-2005": {"status": "in_progress", "age_days": 400},
    "TICKET-2006": {"customer_tier": "standard", "age_days": 40},
}
"""Tickets that are not as most are: open, of a gold customer, bought twelve days ago."""

IN_STOCK = 100
"""How many of each article can be reserved for one line."""

TRIAL_DAYS = {"free": 0, "pro": 14, "enterprise": 30}

Route = Callable[..., Answer]


class Services:
    """The data of the services, and their responses. Ids follow from what is asked."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self.refunded: Counter[str] = Counter()
        self.ledger: dict[str, Body] = {}
        self.tickets: dict[str, str] = {}
        self.approvals: dict[str, list[Any]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.preferences: dict[str, Body] = {}
        self.returns: dict[str, str] = {}
        self.stock: Counter[str] = Counter()
        self.stocked: set[str] = set()
        self.handed_over: set[str] = set()
        self._made: Counter[str] = Counter()
        self._routes: tuple[tuple[str, Route], ...] = (
            (r"GET /payments/([^/]+)", self._payment),
            (r"POST /payments/([^/]+)/screenings", self._screen),
            (r"POST /payments/([^/]+)/refunds", self._refund),
            (r"PUT /ledger/([^/]+)", self._record),
            (r"POST /notifications", self._notify),
            (r"GET /tickets/([^/]+)/of/([^/]+)", self._ticket),
            (r"PUT /tickets/([^/]+)", self._update_ticket),
            (r"POST /approvals", self._ask_approval),
            (r"GET /approvals/([^/]+)", self._approval),
            (r"POST /users", self._create_user),
            (r"PUT /users/([^/]+)", self._update_user),
            (r"POST /billing/profiles", self._bill),
            (r"PUT /preferences/([^/]+)", self._prefer),
            (r"GET /returns/([^/]+)", self._return),
            (r"PUT /returns/([^/]+)", self._close_return),
            (r"POST /warehouse/receipts", self._receive),
            (r"PUT /stock/([^/]+)", self._restock),
            (r"POST /warehouse/reservations", self._reserve),
            (r"PUT /warehouse/reservations/([^/]+)", self._release),
            (r"PUT /checkouts/([^/]+)", self._close_checkout),
            (r"POST /warehouse/parcels", self._pack),
            (r"PUT /parcels/([^/]+)", self._hand_over),
            (r"POST /checkouts", self._check_out),
        )

    def answer(self, request: Request) -> Answer:
        """Answer a call."""
        for pattern, route in self._routes:
            if match := re.fullmatch(pattern, f"{request.method} {request.path}"):
                return route(*match.groups(), request.body)
        return _no(404, f"there is no {request.method} {request.path}")

    def _id(self, prefix: str, digits: int = 8) -> str:
        self._made[prefix] += 1
        return f"{prefix}_{self._made[prefix]:0{digits}x}"

    # -- payments

    def _payment(self, payment_id: str, _: Body) -> Answer:
        if not payment_id.startswith("pay_"):
            return _no(404, f"no payment {payment_id}")
        left = CAPTURED - self.refunded[payment_id]
        return Answer(200, {"payment_id": payment_id, "refundable": left})

    def _screen(self, payment_id: str, body: Body) -> Answer:
        suspicious = "stolen" in payment_id or body["amount"] > CAPTURED / 2
        return Answer(201, {"score": 91 if suspicious else 12})

    def _refund(self, payment_id: str, body: Body) -> Answer:
        if self.refunded[payment_id] + body["amount"] > CAPTURED:
            return _no(422, "more than was paid")
        self.refunded[payment_id] += body["amount"]
        done = {"refund_id": self._id("re"), "amount": body["amount"], "processed_at": _now()}
        return Answer(201, done, "refunds")

    def _record(self, refund_id: str, body: Body) -> Answer:
        effect = "" if refund_id in self.ledger else "ledger entries"
        self.ledger[refund_id] = body
        return Answer(200, {"record_id": f"led_{refund_id}"}, effect)

    def _notify(self, body: Body) -> Answer:
        ids = [self._id("msg") for _ in body["messages"]]
        return Answer(202, {"message_ids": ids}, "notifications")

    # -- customer success

    def _ticket(self, ticket_id: str, customer_id: str, _: Body) -> Answer:
        known = re.fullmatch(r"(?:TICKET-|cs_)(\w+)", ticket_id)
        if known is None or not customer_id.startswith("cust_"):
            return _no(404, "no such ticket or customer")
        special = TICKETS.get(ticket_id, {})
        bought = datetime.now(UTC) - timedelta(days=special.get("age_days", 12))
        return Answer(
            200,
            {
                "ticket_id": ticket_id,
                "customer_id": customer_id,
                "status": self.tickets.get(ticket_id, special.get("status", "open")),
                "customer_tier": special.get("customer_tier", "gold"),
                "purchase_date": bought.date().isoformat(),
                "payment_id": f"pay_{known[1]}",
            },
        )

    def _update_ticket(self, ticket_id: str, body: Body) -> Answer:
        effect = "" if self.tickets.get(ticket_id) == body["status"] else "ticket updates"
        self.tickets[ticket_id] = body["status"]
        return Answer(200, {"ticket_id": ticket_id, "status": body["status"]}, effect)

    def _ask_approval(self, body: Body) -> Answer:
        approval_id = self._id("appr")
        decision = "rejected" if "reject" in body["notes"] else "approved"
        self.approvals[approval_id] = [decision, self._looks]
        shown = "pending" if self._looks else decision
        return Answer(201, {"approval_id": approval_id, "decision": shown}, "approvals")

    def _approval(self, approval_id: str, _: Body) -> Answer:
        entry = self.approvals.get(approval_id)
        if entry is None:
            return _no(404, f"no approval {approval_id}")
        entry[1] -= 1  # people take their time
        decision = "pending" if entry[1] > 0 else entry[0]
        return Answer(200, {"approval_id": approval_id, "decision": decision})

    # -- users

    def _create_user(self, body: Body) -> Answer:
        if any(user["email"] == body["email"] for user in self.users.values()):
            return _no(409, "the e-mail address has an account")
        user_id = self._id("usr", 24)
        self.users[user_id] = {**body, "status": "created"}
        return Answer(201, {"user_id": user_id, "created_at": _now()}, "accounts")

    def _update_user(self, user_id: str, body: Body) -> Answer:
        if user_id not in self.users:
            return _no(404, f"no user {user_id}")
        effect = "" if self.users[user_id]["status"] == body["status"] else "activations"
        self.users[user_id].update(body)
        return Answer(200, {"user_id": user_id, "updated_at": _now()}, effect)

    def _bill(self, body: Body) -> Answer:
        days = TRIAL_DAYS.get(body["plan"])
        if days is None:
            return _no(422, f"no plan {body['plan']}")
        profile = {"billing_id": self._id("bill"), "trial_days": days, "currency": "USD"}
        return Answer(201, profile, "billing profiles")

    def _prefer(self, user_id: str, body: Body) -> Answer:
        effect = "" if user_id in self.preferences else "preferences"
        self.preferences[user_id] = body
        return Answer(200, {"preferences": body}, effect)

    # -- inventory

    def _return(self, return_id: str, _: Body) -> Answer:
        if not return_id.startswith("RET-"):
            return _no(404, f"no return {return_id}")
        status = self.returns.get(return_id, "authorized")
        return Answer(
            200, {"return_id": return_id, "sku": "MUG-7", "quantity": 2, "status": status}
        )

    def _receive(self, body: Body) -> Answer:
        return Answer(201, {**body, "receipt_id": self._id("rcpt")}, "goods receipts")

    def _restock(self, sku: str, body: Body) -> Answer:
        new = body["receipt_id"] not in self.stocked
        if new:
            self.stocked.add(body["receipt_id"])
            self.stock[sku] += body["quantity"]
        return Answer(
            200, {"sku": sku, "in_stock": self.stock[sku]}, "stock updates" if new else ""
        )

    def _close_return(self, return_id: str, body: Body) -> Answer:
        effect = "" if self.returns.get(return_id) == body["status"] else "returns closed"
        self.returns[return_id] = body["status"]
        return Answer(200, {"return_id": return_id, "status": body["status"]}, effect)

    # -- sales

    def _reserve(self, body: Body) -> Answer:
        if body["quantity"] > IN_STOCK:
            return _no(409, f"{IN_STOCK} of {body['sku']} in stock")
        return Answer(201, {**body, "reservation_id": self._id("rsv")}, "reservations")

    def _release(self, reservation_id: str, _: Body) -> Answer:
        return Answer(200, {"reservation_id": reservation_id}, "reservations released")

    def _close_checkout(self, checkout_id: str, _: Body) -> Answer:
        return Answer(200, {"checkout_id": checkout_id}, "checkouts closed")

    def _check_out(self, body: Body) -> Answer:
        return Answer(201, {**body, "checkout_id": self._id("chk")}, "checkouts")

    def _pack(self, body: Body) -> Answer:
        return Answer(201, {**body, "parcel_id": self._id("pcl")}, "parcels")

    def _hand_over(self, parcel_id: str, _: Body) -> Answer:
        effect = "" if parcel_id in self.handed_over else "parcels handed over"
        self.handed_over.add(parcel_id)
        return Answer(200, {"parcel_id": parcel_id, "tracking": f"TRK-{parcel_id}"}, effect)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def main() -> None:
    """Serve until interrupted, for workers in other processes."""
    with Gateways(USUAL_TROUBLES) as gateways:
        print(f"export GROWTHCORP_GATEWAYS={gateways.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
