"""What the pages show: values in; texts, tables and chart specifications out. Nothing here reads a store or a clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

import pyarrow as pa

from dashboard import words
from dashboard.cross import by
from dashboard.places import GENDERS, PLACES
from dashboard.queries import MINUTES, Count, Newest, Sums, Totals, first_minute
from dashboard.stores import Down
from dashboard.words import decimal, percent, say, word
from spark.contract import AGE, AGE_BAND, GENDER

STALE_AFTER = timedelta(seconds=30)
COUNTRIES = 21  # as many bars as the source has nations; of more, the rest is said in one line

UNKNOWN = "—"
MARKDOWN = frozenset("\\`*_[]$<>|~#:")
NO_USERS = word("No users yet: is ingest running? `make status` tells.")

number = words.number

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
        text = say("{what}: {store} unavailable since {at}", what=what, store=reading.store, at=at(reading.since, zone))
        return Badge(text, "red", ":material/cloud_off:")
    newest = newest_at(reading)
    if newest is None:
        return Badge(say("{what}: no users yet", what=what), "gray", ":material/hourglass_empty:")
    when = {"what": what, "at": at(newest, zone), "age": age(newest, now)}
    if now - newest > STALE_AFTER:
        text = say("{what}: nothing newer than {at}, {age} ago", **when)
        return Badge(text, "orange", ":material/warning:")
    return Badge(say("{what} as of {at}, {age} ago", **when), "green", ":material/check_circle:")


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
    lane = say("the stats lane") if isinstance(reading, Sums) else say("the raw lane")
    return say(
        "No new user since {at}, {age} ago: are ingest and {lane} running? `make status` tells.",
        at=at(newest, zone),
        age=age(newest, now),
        lane=lane,
    )


def outage(down: Down, zone: tzinfo) -> str:
    """The sentence for the place of what cannot be shown."""
    return say(
        "**{store}** at {address} is unavailable since {at}: {why}. "
        "It is asked again every 2 s; what it holds shows here as soon as it answers.",
        store=down.store,
        address=down.address,
        at=at(down.since, zone),
        why=plain(reason(down.why)),
    )


def reason(why: str) -> str:
    """Why a store is down; what a driver calls it stays as it is."""
    said, bracket, called = why.partition(" (")
    return say(said) + bracket + called


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
        return f"{decimal(int(seconds * 10) / 10)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return say("{days} d {hours} h", days=whole // 86400, hours=whole % 86400 // 3600)


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in MARKDOWN else letter for letter in " ".join(text.split()))


def mean_age(totals: Totals) -> str:
    """The ages' sum divided by the users, both exact, to a hundredth of a year."""
    return say("{n} years", n=decimal(totals.age_sum / totals.users, 2)) if totals.users else UNKNOWN


def last_full_minute(sums: Sums, now: datetime) -> int:
    """The users of the last minute that is over."""
    return full_minutes(sums, now, 1)


def full_minutes(sums: Sums, now: datetime, n: int, before: int = 0) -> int:
    """The users of the last `n` minutes that are over, or of those that ended `before` minutes earlier."""
    last = now.replace(second=0, microsecond=0) - timedelta(minutes=1 + before)
    return sum(sums.minutes.get(last - timedelta(minutes=back), 0) for back in range(n))


def trend(users: int, before: int, than: str) -> tuple[str, str] | None:
    """By what share more or fewer, than what; None if there is nothing to compare with."""
    return (f"{'+' if users >= before else '-'}{percent(abs(users / before - 1))}", than) if before else None


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
            "label": pa.array([label(c.users, s) for c, s in zip(rows, shares, strict=True)], pa.string()),
            "place": pa.array(range(len(rows)), pa.int64()),
        }
    )


def label(users: int, share: float) -> str:
    return f"{number(users)} · {percent(share)}"


def others(counts: tuple[Count, ...], total: int) -> str | None:
    """What the values beyond the COUNTRIES largest come to; None if all are shown."""
    rest = counts[COUNTRIES:]
    users = sum(count.users for count in rest)
    said = {"n": len(rest), "users": number(users), "share": percent(users / total)} if rest else {}
    return say("and {n} others: {users} · {share}", **said) if rest else None


def countries(totals: Totals) -> tuple[Count, ...]:
    """The largest countries, by their names in the viewer's language."""
    return tuple(Count(say(count.value), count.users) for count in totals.countries[:COUNTRIES])


def genders(totals: Totals) -> tuple[Count, ...]:
    """Genders as words."""
    return tuple(Count(gender(count.value), count.users) for count in totals.genders)


def gender(value: str) -> str:
    return say(GENDERS.get(value, value))


def band(first: str) -> str:
    """`30` is 30-39."""
    return f"{first}-{int(first) + AGE_BAND - 1}"


def map_table(totals: Totals) -> pa.Table:
    """One row a country that has a place on the map: `country`, `users`, `share`, `longitude`, `latitude`."""
    rows = [(count, PLACES[count.value]) for count in totals.countries if count.value in PLACES]
    return pa.table(
        {
            "country": pa.array([say(count.value) for count, _ in rows], pa.string()),
            "users": pa.array([count.users for count, _ in rows], pa.int64()),
            "share": pa.array([count.users / totals.users for count, _ in rows], pa.float64()),
            "longitude": pa.array([place[0] for _, place in rows], pa.float64()),
            "latitude": pa.array([place[1] for _, place in rows], pa.float64()),
        }
    )


def off_the_map(totals: Totals) -> str | None:
    """How many users are of countries without a place on the map; None if all have one."""
    users = sum(count.users for count in totals.countries if count.value not in PLACES)
    return say("{users} users are of countries that the map does not have.", users=number(users)) if users else None


def pyramid_table(totals: Totals) -> pa.Table:
    """One row an age band and gender, the oldest first: `age`, `gender`, `users`, and `signed`: women to the left."""
    tallies = by(totals.crossed, AGE, GENDER)
    firsts = [int(first) for first, _ in tallies]
    bands = range(min(firsts, default=0), max(firsts, default=-AGE_BAND) + AGE_BAND, AGE_BAND)
    rows = [
        (band(str(first)), one, tallies[str(first), one].users if (str(first), one) in tallies else 0, first)
        for first in reversed(bands)
        for one in GENDERS
    ]
    return pa.table(
        {
            "age": pa.array([row[0] for row in rows], pa.string()),
            "gender": pa.array([gender(row[1]) for row in rows], pa.string()),
            "users": pa.array([row[2] for row in rows], pa.int64()),
            "signed": pa.array([-row[2] if row[1] == "female" else row[2] for row in rows], pa.int64()),
            "place": pa.array([-row[3] for row in rows], pa.int64()),
        }
    )


def uncrossed(totals: Totals) -> str | None:
    """How many users are counted but not by all dimensions at once, as of sums that are older than that."""
    users = totals.users - sum(tally.users for tally in totals.crossed.values())
    if users <= 0:
        return None
    return say("{users} users were summed before ages were counted by gender: `make rebuild`.", users=number(users))


def age_bands(totals: Totals) -> tuple[Count, ...]:
    """Every band from the youngest to the oldest one seen, also an empty one: `30` is 30-39."""
    users = {int(count.value): count.users for count in totals.ages}
    if not users:
        return ()
    bands = range(min(users), max(users) + AGE_BAND, AGE_BAND)
    return tuple(Count(band(str(first)), users.get(first, 0)) for first in bands)


def newest_table(newest: Newest, now: datetime) -> pa.Table:
    """One row a user, newest first, as a page may show one."""
    return pa.table(
        {
            say("Name"): [user.name for user in newest.users],
            say("Country"): [say(user.country) for user in newest.users],
            say("Gender"): [gender(user.gender) for user in newest.users],
            say("Age"): [user.age for user in newest.users],
            say("Fetched"): [say("{age} ago", age=age(user.fetched_at, now)) for user in newest.users],
            say("Stored after"): [age(user.fetched_at, user.stored_at) for user in newest.users],
        }
    )
