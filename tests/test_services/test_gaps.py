"""Lists of readings in, gaps out: what is on its way is not lost, and what is lost is missed."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services import gaps
from services.gaps import CHECKS, Difference, OfCassandra, OfKafka, OfMongo, OfOutbox, Reading, Window
from services.outbox_file import Counts
from spark.contract import Counted, Ledger

EVERY_S = 5.0


def counts(**more: int) -> Counts:
    none = dict.fromkeys(("fetched", "duplicates", "rejected", "acknowledged", "acknowledged_dead"), 0)
    return Counts(**none | {"waiting": 0, "waiting_dead": 0} | more)


def ledger(end: int, start: int = 0, **more: int) -> Ledger:
    """A ledger that has read one partition from `start` to `end`, all of it ours."""
    read = end - start
    totals = Counted(**{"read": read, "users": read, "ours": read} | more)
    return Ledger(1, {0: start}, {0: end}, Counted(), totals, {})


def quiet(n: int = 100, canaries: int = 5, dead: int = 2) -> Reading:
    """A system at rest: so many users, canaries and dead letters went all the way."""
    outbox = OfOutbox(
        "one",
        counts(
            fetched=n + dead,
            rejected=dead,
            acknowledged=n,
            acknowledged_dead=dead,
            canaries=canaries,
            acknowledged_canaries=canaries,
        ),
        looked_back=True,
    )
    messages = n + canaries
    raw = ledger(messages, users=n, canaries=canaries)
    stats = ledger(messages, users=0, canaries=canaries)
    return Reading(
        OfMongo(raw, n, raw), OfCassandra(stats, n, stats), outbox, OfKafka({0: 0}, {0: messages}, dead), outbox, raw
    )


def claimed(*readings: Reading, every_s: float = EVERY_S) -> dict[str, int]:
    """The gaps after these readings, one every 5 s; without those that are 0."""
    windows = {check: Window() for check in CHECKS}
    found: dict[str, int] = {}
    for n, reading in enumerate(readings):
        for check, difference in ((check, CHECKS[check](reading)) for check in CHECKS):
            found[check] = windows[check].add(n * every_s, difference) if difference is not None else 0
    return {check: gap for check, gap in found.items() if gap}


def minutes(reading: Reading, n: float = 1) -> list[Reading]:
    """The same reading for so many minutes."""
    return [reading] * (int(n * 12) + 1)


def with_counts(reading: Reading, **more: int) -> Reading:
    assert reading.before and reading.after
    before, after = (replace(one, counts=replace(one.counts, **more)) for one in (reading.before, reading.after))
    return replace(reading, before=before, after=after)


def with_raw(reading: Reading, made: Ledger, documents: int | None = None) -> Reading:
    assert reading.mongo
    n = reading.mongo.documents if documents is None else documents
    return replace(reading, mongo=OfMongo(made, n, made), raw=made)


def more(one: Ledger, **by: int) -> Ledger:
    totals = {name: getattr(one.totals, name) + n for name, n in by.items()}
    return msgspec.structs.replace(one, totals=msgspec.structs.replace(one.totals, **totals))


def test_a_system_at_rest_has_no_gap():
    assert claimed(*minutes(quiet())) == {}
    assert {check: CHECKS[check](quiet()) for check in CHECKS} == dict.fromkeys(CHECKS, gaps.Difference(0, 0, 0))


def test_a_page_that_is_lost_before_the_outbox_is_missed():
    assert claimed(*minutes(with_counts(quiet(), fetched=202))) == {"ingestion": 100}


def test_a_record_set_aside_without_its_letter_is_missed():
    lost = with_counts(quiet(), rejected=2, acknowledged_dead=1)
    assert CHECKS["ingestion"](lost).now == 1


def test_an_acknowledged_message_that_is_not_on_the_topic_is_missed():
    at_rest = quiet()
    shorter = replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 104}))
    lost = with_raw(replace(shorter, cassandra=OfCassandra(ledger(104), 100, ledger(104))), ledger(104, users=100))
    assert claimed(*minutes(lost)) == {"topic": 1}


def test_a_message_that_is_twice_on_the_topic_is_one_too_many():
    at_rest = quiet()
    twice = replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 106}))
    raw, stats = ledger(106, users=100, duplicates=1, canaries=5), ledger(106, users=0)
    assert claimed(*minutes(replace(with_raw(twice, raw), cassandra=OfCassandra(stats, 100, stats)))) == {"topic": -1}


def test_copies_of_another_producer_are_no_gap():
    at_rest = quiet()
    copied = replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 115}))
    raw = ledger(115, users=100, duplicates=10, canaries=5, ours=105)
    stats = ledger(115, users=0, canaries=5, ours=105)
    assert claimed(*minutes(replace(with_raw(copied, raw), cassandra=OfCassandra(stats, 100, stats)))) == {}


def test_messages_of_another_producer_that_no_lane_has_read_are_no_gap():
    at_rest = quiet()
    assert claimed(*minutes(replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 50_105})))) == {}


def test_a_loss_is_missed_though_an_outsider_has_put_messages_there_before():
    at_rest = quiet()
    seen = replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 114}))  # 10 foreign, 104 of the 105 that are ours
    raw = ledger(114, users=99, duplicates=10, canaries=5, ours=104)
    stats = ledger(114, users=0, canaries=5, ours=104)
    seen = replace(with_raw(seen, raw, documents=99), cassandra=OfCassandra(stats, 99, stats))
    assert claimed(*minutes(seen)) == {"topic": 1}


def test_a_dead_letter_that_is_lost_is_missed_and_one_that_came_twice_is_not_told():
    at_rest = quiet()
    lost, twice = (replace(at_rest, kafka=replace(at_rest.kafka, letters=n)) for n in (1, 3))
    assert claimed(*minutes(lost)) == {"dead_letters": 1}
    assert claimed(*minutes(twice)) == {}
    assert CHECKS["dead_letters"](twice).now == -1


def test_poison_without_a_dead_letter_is_missed():
    at_rest = quiet()
    raw = more(at_rest.raw, poison=1, users=-1)
    poisoned = with_raw(at_rest, raw, documents=99)
    poisoned = replace(poisoned, cassandra=replace(poisoned.cassandra, total=99))
    assert claimed(*minutes(poisoned)) == {"dead_letters": 1}


@pytest.mark.parametrize("lane", ["raw", "stats"])
def test_messages_that_a_lane_skips_are_missed(lane):
    at_rest = quiet()
    if lane == "raw":
        skipping = with_raw(at_rest, more(at_rest.raw, read=-3, ours=-3))
    else:
        stats = more(at_rest.cassandra.after, read=-3)
        skipping = replace(at_rest, cassandra=OfCassandra(stats, 100, stats))
    assert claimed(*minutes(skipping)) == {f"read_{lane}": 3}


def test_a_lane_that_is_past_the_end_of_the_topic_has_read_what_is_not_there():
    at_rest = quiet()
    cut = replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 100}))
    assert claimed(*minutes(cut)) == {"topic": 5, "read_raw": -5, "read_stats": -5}


def test_a_document_that_is_removed_is_missed_and_one_that_nobody_sent_is_one_too_many():
    at_rest = quiet()
    removed, planted = (with_raw(at_rest, at_rest.raw, documents=n) for n in (99, 101))
    assert claimed(*minutes(removed)) == {"stored": 1}
    assert claimed(*minutes(planted)) == {"stored": -1}


def test_sums_that_are_too_low_or_too_high_are_told():
    at_rest = quiet()
    low, high = (replace(at_rest, cassandra=replace(at_rest.cassandra, total=n)) for n in (98, 102))
    assert claimed(*minutes(low)) == {"summed": 2}
    assert claimed(*minutes(high)) == {"summed": -2}


def test_who_was_forgotten_before_being_stored_may_be_summed_and_no_one_else():
    at_rest = quiet()
    high = replace(at_rest, cassandra=replace(at_rest.cassandra, total=102))
    assert [claimed(*minutes(replace(high, ahead=n))) for n in (1, 2)] == [{"summed": -1}, {}]
    assert claimed(*minutes(replace(at_rest, ahead=2))) == {}, "nor need to be"


def test_a_row_that_was_forgotten_may_have_reached_the_topic_or_not():
    at_rest = quiet()
    unsent = counts(
        fetched=103, rejected=2, acknowledged=100, acknowledged_dead=2, canaries=5, acknowledged_canaries=5, forgotten=1
    )
    outbox = OfOutbox("one", unsent, looked_back=True)
    assert claimed(*minutes(replace(at_rest, before=outbox, after=outbox))) == {}


def flowing(n: int, lost: int = 0) -> list[Reading]:
    """
    A minute of a steady flow, `n` users so far: pages wait, are sent, are read by one lane before the other, in turn.

    `lost` documents are gone from MongoDB.
    """
    made = []
    for turn in range(13):
        at, phase = n + turn * 250, turn % 4
        base = quiet(at, 0, 0)
        acknowledged = at - (100 if phase == 1 else 0)
        before = replace(base.before, counts=counts(fetched=at, acknowledged=acknowledged, waiting=at - acknowledged))
        behind_raw, behind_stats = (100 if phase == 2 else 0), (150 if phase in (2, 3) else 0)
        raw, stats = ledger(at - behind_raw), ledger(at - behind_stats, users=0)
        arrived = 40 if phase == 2 else 0  # of the batch under way, not yet in the ledger
        base = replace(
            base,
            before=before,
            cassandra=OfCassandra(stats, at - behind_stats + (30 if phase == 3 else 0), stats),
        )
        made.append(with_raw(base, raw, documents=at - behind_raw + arrived - lost))
    return made


def test_what_is_on_its_way_is_no_gap():
    assert claimed(*flowing(1000)) == {}


def test_one_lost_document_is_missed_in_a_steady_flow():
    assert claimed(*flowing(1000, lost=1)) == {"stored": 1}


def test_one_document_too_many_is_told_in_a_steady_flow():
    assert claimed(*flowing(1000, lost=-1)) == {"stored": -1}


def backlog(n: int) -> list[Reading]:
    """50,000 messages drain by batches of 6,000, each longer than a round; no reading is ever at rest."""
    made = []
    for turn in range(26):
        done = min(n, turn // 2 * 6000)
        started = min(n, done + 3000 * (turn % 2))
        base = quiet(n, 0, 0)
        raw, stats = ledger(done), ledger(max(0, done - 6000), users=0)
        base = replace(base, cassandra=OfCassandra(stats, max(0, started - 6000), stats))
        made.append(with_raw(base, raw, documents=started))
    return made


def test_a_backlog_that_drains_is_no_gap():
    readings = backlog(50_000)
    assert all(claimed(*readings[:n]) == {} for n in range(1, len(readings)))


def test_a_document_that_is_lost_while_a_backlog_drains_is_missed_then():
    readings = [with_raw(one, one.raw, documents=max(0, one.mongo.documents - 1)) for one in backlog(50_000)]
    assert claimed(*readings) == {"stored": 1}


def test_a_store_that_is_silent_lets_its_checks_claim_nothing_and_the_others_go_on():
    at_rest = quiet()
    lost = with_counts(with_raw(at_rest, at_rest.raw, documents=99), fetched=103)
    silent = replace(lost, mongo=None)
    assert claimed(*minutes(lost), silent) == {"ingestion": 1}
    assert claimed(*minutes(lost), *[silent] * 4, *[lost] * 2) == {"ingestion": 1, "stored": 1}


def test_a_silent_kafka_hides_no_lost_document_and_claims_nothing_else():
    at_rest = quiet()
    deaf = replace(at_rest, kafka=None)
    assert claimed(*minutes(deaf)) == {}
    assert claimed(*minutes(with_raw(deaf, at_rest.raw, documents=99))) == {"stored": 1}
    assert claimed(*minutes(with_raw(deaf, at_rest.raw, documents=101))) == {}


def test_before_the_window_is_full_nothing_is_claimed():
    lost = with_raw(quiet(), quiet().raw, documents=99)
    assert claimed(*[lost] * 9) == {}
    assert claimed(*[lost] * 13) == {"stored": 1}
    assert claimed(*[lost] * 3) == {}


def test_a_gap_that_is_mended_is_gone_with_the_next_reading():
    lost = with_raw(quiet(), quiet().raw, documents=97)
    assert claimed(*minutes(lost), quiet()) == {}
    half = with_raw(quiet(), quiet().raw, documents=98)
    assert claimed(*minutes(lost), half) == {"stored": 2}


def test_two_bad_readings_are_not_enough():
    at_rest = quiet()
    just_elected = replace(at_rest, kafka=replace(at_rest.kafka, ends={0: 60}, letters=0))
    readings = minutes(at_rest)
    assert claimed(*readings, just_elected, just_elected) == {}
    assert claimed(*readings, just_elected, just_elected, *readings) == {}


def test_a_loss_that_goes_on_is_told_while_it_grows():
    at_rest = quiet()
    growing = [with_raw(at_rest, at_rest.raw, documents=100 - n) for n in range(1, 20)]
    assert claimed(*growing) == {"stored": 7}  # what has been missing for the whole window


def test_a_count_that_is_rare_claims_what_three_in_turn_prove():
    window, missing, none = Window(), Difference(1, 1, 1), Difference(0, 0, 0)
    said = [window.add(at, found) for at, found in ((0, none), (45, missing), (90, missing), (135, missing))]
    assert said == [None, None, 0, 1]


def test_an_outbox_that_has_not_looked_back_is_not_compared_with_the_topics():
    at_rest = quiet()
    new = OfOutbox("two", counts(), looked_back=False)
    assert claimed(*minutes(replace(at_rest, before=new, after=new))) == {}


def test_an_outbox_that_was_replaced_counts_what_was_there_before_it():
    at_rest = quiet()
    new = OfOutbox("two", counts(before=105, before_dead=2), looked_back=True)
    assert claimed(*minutes(replace(at_rest, before=new, after=new))) == {}
    lost = OfOutbox("two", counts(before=106, before_dead=3), looked_back=True)
    assert claimed(*minutes(replace(at_rest, before=lost, after=lost))) == {"topic": 1, "dead_letters": 1}


def test_what_the_topic_had_forgotten_before_the_outbox_was_replaced_is_not_one_too_many():
    at_rest = quiet()
    new = OfOutbox("two", counts(before=45, before_dead=0), looked_back=True)
    forgotten = replace(at_rest, before=new, after=new, kafka=replace(at_rest.kafka, begins={0: 60}))
    assert claimed(*minutes(forgotten)) == {}


def test_an_outbox_that_changes_between_its_two_looks_is_not_compared():
    other = OfOutbox("two", counts(), looked_back=True)
    assert CHECKS["topic"](replace(quiet(), after=other)) is None


@pytest.mark.parametrize("begins", [0, 40])
def test_a_raw_lane_whose_checkpoint_was_set_aside_is_no_gap(begins):
    """It reads again, from what the topic still has; all documents are there already."""
    at_rest = quiet(100, 0, 0)
    kafka = replace(at_rest.kafka, begins={0: begins})
    again = [replace(with_raw(at_rest, ledger(end, begins)), kafka=kafka) for end in range(begins, 101, 5)]
    assert claimed(*minutes(at_rest), *again, *minutes(again[-1])) == {}


def test_a_stats_lane_whose_checkpoint_was_set_aside_is_no_gap():
    """Its minutes are written anew, and so its total falls and rises."""
    at_rest = quiet(100, 0, 0)
    again = []
    for end in range(0, 101, 5):
        stats = ledger(end, users=0)
        again.append(replace(at_rest, cassandra=OfCassandra(stats, end, stats)))
    assert claimed(*minutes(at_rest), *again, *minutes(at_rest)) == {}


def test_a_batch_that_is_written_again_is_no_gap():
    """Its documents and its sums are there; its ledger is not yet."""
    n = 100
    base = quiet(n, 0, 0)
    raw, stats = ledger(80), ledger(80, users=0)
    written = replace(with_raw(base, raw, documents=100), cassandra=OfCassandra(stats, 100, stats))
    assert claimed(*minutes(written, 2), base) == {}


def test_a_system_that_has_counted_nothing_yet_has_no_gap():
    new = OfOutbox("one", counts(), looked_back=False)
    assert claimed(*minutes(Reading(OfMongo(None, 0, None), OfCassandra(None, 0, None), new, None, new, None))) == {}
    first = replace(quiet(), mongo=OfMongo(None, 60, None), cassandra=OfCassandra(None, 30, None), raw=None)
    assert claimed(*minutes(first)) == {}


def test_a_ledger_that_began_on_a_system_with_users_is_no_gap():
    at_rest = quiet(100, 0, 0)
    raw, stats = ledger(100, 90), ledger(100, 95, users=0)
    assert claimed(*minutes(replace(with_raw(at_rest, raw), cassandra=OfCassandra(stats, 100, stats)))) == {}


def test_partitions_are_compared_one_by_one():
    raw = Ledger(1, {0: 0, 1: 0}, {0: 60, 1: 40}, Counted(), Counted(read=100, users=100, ours=100), {})
    stats = msgspec.structs.replace(raw, ends={0: 40, 1: 60}, totals=Counted(read=100, ours=100))
    at_rest = quiet(120, 0, 0)
    kafka = replace(at_rest.kafka, begins={0: 0, 1: 0}, ends={0: 60, 1: 60})
    seen = replace(with_raw(at_rest, raw, documents=100), kafka=kafka, cassandra=OfCassandra(stats, 100, stats))
    assert CHECKS["summed"](seen) == gaps.Difference(0, -20, 20)


def test_every_hop_is_counted():
    found: dict[str, Any] = gaps.counts(quiet())
    assert found == {
        "fetched": 102,
        "known": 0,
        "rejected": 2,
        "outbox": 0,
        "acknowledged": 100,
        "on_topic": 105,
        "dead_letters": 2,
        "read_raw": 105,
        "read_stats": 105,
        "copies_raw": 0,
        "copies_stats": 0,
        "poison_raw": 0,
        "poison_stats": 0,
        "stored": 100,
        "summed": 100,
    }


def test_copies_of_the_stats_lane_are_what_was_read_and_not_summed():
    stats = ledger(110, users=0, poison=1, canaries=5)
    seen = replace(quiet(), cassandra=OfCassandra(stats, 100, stats))
    assert gaps.counts(seen)["copies_stats"] == 4


def test_a_silent_part_counts_nothing():
    assert gaps.counts(Reading(None, None, None, None, None, None)) == {}
