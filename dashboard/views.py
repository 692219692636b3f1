"""What the pages show: values in; texts, tables and chart specifications out. Nothing here reads a store or a clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

import pyarrow as pa

from dashboard.queries import MINUTES, Count, Newest, Sums, Totals, first_minute
from dashboard.stores import Down
from spark.contract import AGE_BAND

STALE_AFTER = timedelta(seconds=30)
COUNTRIES = 21  # as many bars as the source has nations; of more, the rest is said in one line

UNKNOWN = "—"
MARKDOWN = frozenset("\\`*_[]$<>|~#:")
NO_USERS = "No users yet: is ingest running? `make status` tells."

Colour = Literal["green", "orange", "red", "gray"]


@dataclass(frozen=True)
class Badge:
    """The state of one source of numbers: the text says it, the colour and the icon repeat it."""

    text: str
    colour: Colour
    icon: str


def badge(what: str, reading: Sums | Newest | Down, now: datetime, zone: tzinfo) -> Badge:
    """How old the newest user in `what` is, or that it is stale, empty or down."""
    if isinstance(reading, Down):
        return Badge(
            f"{what}: {reading.store} unavailable since {at(reading.since, zone)}", "red", ":material/cloud_off:"
        )
    newest = newest_at(reading)
    if newest is None:
        return Badge(f"{what}: no users yet", "gray", ":material/hourglass_empty:")
    if now - newest > STALE_AFTER:
        text = f"{what}: nothing newer than {at(newest, zone)}, {age(newest, now)} ago"
        return Badge(text, "orange", ":material/warning:")
    return Badge(f"{what} as of {at(newest, zone)}, {age(newest, now)} ago", "green", ":material/check_circle:")


def newest_at(reading: Sums | Newest) -> datetime | None:
    """When the newest user that the reading knows of was fetched."""
    if isinstance(reading, Sums):
        return reading.newest
    return reading.users[0].fetched_at if reading.users else None


def stale(reading: Sums | Newest, now: datetime, zone: tzinfo) -> str | None:
    """The sentence for a reading with nothing newer than STALE_AFTER; None while it is fresh or empty."""
    newest = newest_at(reading)
    if newest is None or now - newest <= STALE_AFTER:
        return None
    lane = "the stats lane" if isinstance(reading, Sums) else "the raw lane"
    since = f"{at(newest, zone)}, {age(newest, now)} ago"
    return f"No new user since {since}: are ingest and {lane} running? `make status` tells."


def outage(down: Down, zone: tzinfo) -> str:
    """The sentence for the place of what cannot be shown."""
    return (
        f"**{down.store}** at {down.address} is unavailable since {at(down.since, zone)}: {plain(down.why)}. "
        "It is asked again every 2 s; what it holds shows here as soon as it answers."
    )


def at(moment: datetime, zone: tzinfo) -> str:
    """A moment as the viewer's clock shows it: 12:03:07."""
    return f"{moment.astimezone(zone):%H:%M:%S}"


def age(then: datetime, now: datetime) -> str:
    """How long ago; 0.0 s where clocks differ."""
    return span((now - then).total_seconds())


def span(seconds: float) -> str:
    """A time in the units that matter: 1.4 s, 2 min 5 s, 3 h 10 min, 2 d 4 h; 0.0 s for one below zero."""
    seconds = max(0.0, seconds)
    whole = int(seconds)
    if whole < 60:
        return f"{int(seconds * 10) / 10:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in MARKDOWN else letter for letter in " ".join(text.split()))


def number(count: int) -> str:
    """1,234,567."""
    return f"{count:,}"


def mean_age(totals: Totals) -> str:
    """The ages' sum divided by the users, both exact, to a hundredth of a year."""
    return f"{totals.age_sum / totals.users:.2f} years" if totals.users else UNKNOWN


def last_full_minute(sums: Sums, now: datetime) -> int:
    """The users of the last minute that is over."""
    return sums.minutes.get(now.replace(second=0, microsecond=0) - timedelta(minutes=1), 0)


def minutes_table(sums: Sums, now: datetime) -> pa.Table:
    """One row a minute, oldest first: `minute`, `users` (0 if there were none), `state` (the last one still runs)."""
    first = first_minute(now)
    minutes = [first + timedelta(minutes=n) for n in range(MINUTES)]
    return pa.table(
        {
            "minute": pa.array(minutes, pa.timestamp("ms", "UTC")),
            "users": [sums.minutes.get(minute, 0) for minute in minutes],
            "state": ["full"] * (MINUTES - 1) + ["running"],
        }
    )


def shares_table(counts: Iterable[Count], total: int) -> pa.Table:
    """One row a value, in the order given: `value`, `users`, `share` (of `total`), `label` and `place`."""
    rows = list(counts)
    shares = [count.users / total if total else 0.0 for count in rows]
    return pa.table(
        {
            "value": pa.array([count.value for count in rows], pa.string()),
            "users": pa.array([count.users for count in rows], pa.int64()),
            "share": pa.array(shares, pa.float64()),
            "label": pa.array([f"{number(c.users)} · {s:.1%}" for c, s in zip(rows, shares, strict=True)], pa.string()),
            "place": pa.array(range(len(rows)), pa.int64()),
        }
    )


def other_countries(totals: Totals) -> str | None:
    """What the countries beyond the COUNTRIES largest come to; None if all are shown."""
    others = totals.countries[COUNTRIES:]
    users = sum(count.users for count in others)
    return f"and {len(others)} others: {number(users)} · {users / totals.users:.1%}" if others else None


def genders(totals: Totals) -> tuple[Count, ...]:
    """Genders as words."""
    return tuple(Count(count.value.capitalize(), count.users) for count in totals.genders)


def age_bands(totals: Totals) -> tuple[Count, ...]:
    """Every band from the youngest to the oldest one seen, also an empty one: `30` is 30-39."""
    users = {int(count.value): count.users for count in totals.ages}
    if not users:
        return ()
    bands = range(min(users), max(users) + AGE_BAND, AGE_BAND)
    return tuple(Count(f"{band}-{band + AGE_BAND - 1}", users.get(band, 0)) for band in bands)


def newest_table(newest: Newest, now: datetime) -> pa.Table:
    """One row a user, newest first, as a page may show one."""
    return pa.table(
        {
            "Name": [user.name for user in newest.users],
            "Country": [user.country for user in newest.users],
            "Gender": [user.gender.capitalize() for user in newest.users],
            "Age": [user.age for user in newest.users],
            "Fetched": [f"{age(user.fetched_at, now)} ago" for user in newest.users],
            "Stored after": [age(user.fetched_at, user.stored_at) for user in newest.users],
        }
    )
