"""What the audit compares, hop by hop: each comparison takes what was read and returns a Finding; nothing here asks."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.evidence import Fetched, Key, Minutes, OnTopic, Settings, Stored, Sums
from services.simulator.people import ids as ids_of_page
from services.source import MAX_PAGE, generation_of
from spark.contract import DIMENSIONS, EVERYONE

SHOWN = 5  # ids named of each difference
OLDEST = 150  # years, by the contract


@dataclass(frozen=True)
class Finding:
    """One comparison: what was counted, and what differs (empty when nothing does)."""

    hop: str
    counted: str
    differs: str = ""


def differing(one: Mapping[Any, Sums], other: Mapping[Any, Sums]) -> str:
    """The first keys whose sums are not the same on both sides."""
    keys = [key for key in {**one, **other} if one.get(key, (0, 0)) != other.get(key, (0, 0))]
    shown = ", ".join(f"{say(key)}: {one.get(key, (0, 0))} / {other.get(key, (0, 0))}" for key in sorted(keys)[:SHOWN])
    return f"{len(keys)} sums differ (users, age sum: expected / found): {shown}" if keys else ""


def say(key: Any) -> str:
    return " ".join(say(part) for part in key) if isinstance(key, tuple) else str(key)


def named(what: str, found: Iterable[Any]) -> str:
    """A sentence with the first of what was found, empty for nothing."""
    listed = sorted(found)
    return f"{len(listed):,} {what}: {', '.join(map(str, listed[:SHOWN]))}" if listed else ""


def between(low: Mapping[Key, Sums], middle: Mapping[Key, Sums], high: Mapping[Key, Sums]) -> bool:
    """Whether sums that only grow, read in this order, are one and the same growing sum."""
    nothing = (0, 0)
    return all(
        low.get(key, nothing)[n] <= middle.get(key, nothing)[n] <= high.get(key, nothing)[n]
        for key in {**low, **middle, **high}
        for n in (0, 1)
    )


def added(parts: Iterable[Mapping[Any, Sums]]) -> dict[Key, Sums]:
    """The sums of several, by dimension and value."""
    total: dict[Key, Sums] = defaultdict(lambda: (0, 0))
    for part in parts:
        for key, (n, age) in part.items():
            dimension_value = key if isinstance(key[0], str) else key[1]
            had = total[dimension_value]
            total[dimension_value] = (had[0] + n, had[1] + age)
    return dict(total)


def expected_ids(pages: Mapping[str, int], page_size: int, nationalities: str) -> set[str]:
    """The users of those pages of those seeds, from the simulator's own arithmetic."""
    nations = tuple(n for n in nationalities.upper().split(",") if n)
    return {
        user_id
        for seed, n in pages.items()
        for page in range(1, n + 1)
        for user_id in ids_of_page(seed, page, page_size, nations)
    }


def of_ingestion(start: Fetched) -> Finding:
    c = start.counts
    users = c.duplicates + c.rejected + c.acknowledged + c.waiting + c.forgotten
    letters = c.acknowledged_dead + c.waiting_dead + c.forgotten_dead
    canaries = c.acknowledged_canaries + c.waiting_canaries
    differs = ""
    if users != c.fetched:
        differs = f"fetched {c.fetched:,} but known, set aside, acknowledged and waiting are {users:,}"
    elif letters != c.rejected:
        differs = f"set aside {c.rejected:,} but {letters:,} are acknowledged or wait"
    elif canaries != c.canaries:
        differs = f"{c.canaries:,} canaries but {canaries:,} are acknowledged or wait"
    counted = f"{c.fetched:,} fetched, {c.duplicates:,} known already, {c.rejected:,} set aside"
    counted += f", {c.forgotten:,} forgotten unsent" if c.forgotten else ""
    return Finding("ingestion", counted, differs)


def of_topic(start: Fetched, topic: OnTopic) -> Iterator[Finding]:
    """Every row that the outbox held or had let go when the audit began must be on its topic now; later ones may be."""
    c = start.counts
    users, letters = c.acknowledged + c.waiting, c.acknowledged_dead + c.waiting_dead
    canaries = c.acknowledged_canaries + c.waiting_canaries  # rows as users' are; not told apart by their headers
    twice = sum(n - 1 for n in topic.ids.values())
    there = f"{len(topic.ids):,} users on the topic, {twice:,} copies"
    yield Finding(
        "topic",
        f"{users:,} sent, {there}, {topic.canaries:,} canaries of {canaries:,}",
        missing_rows(topic, users + canaries, topic.rows - start.forgotten, start.last_row),
    )
    yield Finding(
        "dead letters",
        f"{letters:,} sent, {len(topic.dead_rows):,} on the topic",
        missing_rows(topic, letters, topic.dead_rows - start.forgotten, start.last_row),
    )


def missing_rows(topic: OnTopic, sent: int, rows: set[int], last_row: int) -> str:
    """How many rows the topic has too few (or too many) of those up to `last_row`; nothing if it has forgotten some."""
    n = sum(row <= last_row for row in rows)
    return f"{sent:,} rows were acknowledged, {n:,} are on the topic" if topic.complete and n != sent else ""


def of_poison(topic: OnTopic, letters: OnTopic) -> Finding:
    missing = topic.poison - letters.dead_origins
    return Finding("poison", f"{len(topic.poison):,} on the topic", named("without a dead letter", missing))


def of_store(topic: OnTopic, ids: Collection[str]) -> Finding:
    missing = set(topic.ids).difference(ids)
    return Finding("raw lane", f"{len(ids):,} users in MongoDB", named("on the topic, not stored", missing))


def of_forgotten(wanted: Settings, stored: Stored) -> Finding:
    """
    Nobody who was forgotten may be back, as when a backup was played in, nor among the newest that are shown.

    Retention may take the rest.
    """
    back = stored.registered - stored.forgotten if not wanted.users_days else stored.registered & set(stored.users)
    back |= stored.registered & stored.shown
    counted = f"{len(stored.forgotten):,} users forgotten; nothing of them is kept but the id"
    return Finding("forgotten", counted, named("forgotten and back, or not kept out (make forget again)", back))


def with_forgotten(expected: Minutes, found: Minutes, stored: Stored) -> Minutes:
    """
    What is expected once the forgotten are given back: no document says what they were, but how many a minute had is
    known. What is too much in a minute is theirs as far as there were so many, and has an age that people have.
    """
    more: dict[tuple[datetime, str], dict[Key, int]] = defaultdict(dict)
    for (minute, key), (n, age) in found.items():
        had, had_age = expected.get((minute, key), (0, 0))
        if n > had and 0 <= age - had_age <= OLDEST * (n - had):
            more[minute, key[0]][key] = n - had
    ahead = dict.fromkeys(DIMENSIONS, stored.ahead)
    whole = dict(expected)
    for (minute, dimension), keys in sorted(more.items()):
        unknown = max(0, sum(keys.values()) - stored.minutes[minute])
        if unknown <= ahead[dimension]:
            ahead[dimension] -= unknown
            whole |= {(minute, key): found[minute, key] for key in keys}
    return whole


def of_minutes(expected: Minutes, found: Minutes) -> Finding:
    users = sum(sums[0] for (_, key), sums in found.items() if key[0] == EVERYONE)
    counted = f"{users:,} users, {len({key for _, key in found})} values, minute by minute"
    return Finding("stats lane", counted, differing(expected, found))


def of_seed(wanted: Settings, start: Fetched, topic: OnTopic, letters: OnTopic, ids: Collection[str]) -> Finding:
    if not wanted.of_simulator:
        return Finding("seed", "the source is not the simulator: who must exist is not known here")
    if wanted.users_days:
        return Finding("seed", "users are removed after VIGIE_USERS_RETENTION_DAYS: who must exist is not known here")
    pages = asked_pages(start.seed, wanted.pages) if wanted.pages else start.pages
    expected = expected_ids(pages, wanted.page_size, wanted.nationalities)
    missing = expected.difference(ids) - topic.dead_ids - letters.dead_ids
    counted = f"{len(expected):,} users must exist by seed {start.seed}, pages {sum(pages.values()):,}"
    if missing:
        return Finding("seed", counted, named("neither stored nor set aside", missing))
    twice = [i for i in expected if i in ids and i in topic.dead_ids and i not in topic.ids]
    return Finding("seed", counted, named("stored, but only the dead letters had them", twice))


def asked_pages(seed: str, pages: int) -> dict[str, int]:
    """The pages that a run with VIGIE_PAGES must have fetched."""
    return {
        generation_of(seed, generation): min(MAX_PAGE, pages - generation * MAX_PAGE)
        for generation in range(-(-pages // MAX_PAGE))
    }
