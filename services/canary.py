"""
A canary: nobody, put into the outbox every few seconds. Where it arrives the pipe is whole, however quiet the source.

It is flagged in its event; both lanes know it by that, and no count of users holds it.
"""

import sqlite3
import threading
import uuid
from datetime import UTC, datetime

from observability import metrics, names, tracing
from observability.logs import Log
from services.contract import (
    Birth,
    Coordinates,
    Location,
    Name,
    Picture,
    Registered,
    Source,
    Street,
    Timezone,
    UserEvent,
)
from services.outbox import Outbox
from services.outbox_file import OutboxFull

log = Log(__name__)

SEED = "canary"
NOBODY, NEVER = "canary", datetime(2000, 1, 1, tzinfo=UTC)


def run(outbox: Outbox, every_s: float, stopping: threading.Event) -> None:
    """Put a canary into the outbox now and every `every_s` seconds, until `stopping`."""
    while not stopping.is_set():
        put(outbox, datetime.now(UTC))
        stopping.wait(every_s)


def put(outbox: Outbox, at: datetime) -> bool:
    """Put one canary into the outbox; False if it cannot be read or has no room, which its own figures tell."""
    try:
        page = outbox.counts().canaries + 1
    except sqlite3.Error as error:  # the disk, as it may be for the next one
        log.warning("no canary: the outbox cannot be read", reason=str(error))
        return False
    with tracing.span(names.PAGE, {"vigie.page": page, "vigie.journey": "true"}, what="canary") as span:
        try:
            outbox.keep_canary(event(str(uuid.uuid4()), page, at), tracing.traceparent(tracing.current()))
        except OutboxFull as error:
            tracing.failed(span, error)
            log.warning("no canary: no room in the outbox", reason=str(error))
            return False
    metrics.counter(names.CANARIES_SENT).inc()
    return True


def event(user_id: str, page: int, at: datetime) -> UserEvent:
    """The canary with this id, the `page`-th of its outbox; whole as a user is, and no person."""
    return UserEvent(
        v=1,
        user_id=user_id,
        fetched_at=at,
        source=Source(SEED, page, 1),
        gender="female",
        name=Name(NOBODY, NOBODY, NOBODY),
        location=Location(
            street=Street(0, NOBODY),
            city=NOBODY,
            state=NOBODY,
            country="Canary",
            postcode=0,
            coordinates=Coordinates("0", "0"),
            timezone=Timezone("+0:00", NOBODY),
        ),
        email=NOBODY,
        username=NOBODY,
        dob=Birth(NEVER, 0),
        registered=Registered(NEVER, 0),
        phone=NOBODY,
        cell=NOBODY,
        id_name=NOBODY,
        picture=Picture(NOBODY, NOBODY, NOBODY),
        nat="ZZ",
        canary=True,
    )
