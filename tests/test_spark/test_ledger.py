"""A ledger counts each message once: whatever comes again, from the middle or from the start of the topic."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from spark.contract import Counted, Ledger
from spark.ledger import after


def counted(read: int, duplicates: int = 0) -> Counted:
    return Counted(read=read, users=read - duplicates, duplicates=duplicates, ours=read)


def test_batches_add_up_and_what_was_before_the_last_one_is_kept():
    one = after(None, 0, counted(5), {0: 0, 1: 0}, {0: 3, 1: 2})
    two = after(one, 1, counted(4, 1), {0: 3, 1: 2}, {0: 5, 1: 4})
    assert (two.starts, two.ends) == ({0: 0, 1: 0}, {0: 5, 1: 4})
    assert (two.before, two.totals) == (counted(5), counted(9, 1))


def test_a_batch_that_is_written_twice_changes_nothing():
    one = after(None, 0, counted(5), {0: 0}, {0: 5})
    two = after(one, 1, counted(3), {0: 5}, {0: 8})
    assert after(two, 1, counted(3), {0: 5}, {0: 8}) == two
    assert after(one, 0, counted(5), {0: 0}, {0: 5}) == one


def test_a_batch_that_is_planned_anew_with_more_messages_counts_them_once():
    one = after(None, 0, counted(5), {0: 0}, {0: 5})
    two = after(one, 1, counted(3), {0: 5}, {0: 8})
    assert after(two, 1, counted(4), {0: 5}, {0: 9}).totals == counted(9)


def test_a_restart_goes_on_from_what_the_store_holds():
    one = after(None, 0, counted(5), {0: 0}, {0: 5})
    read_back = msgspec.json.decode(msgspec.json.encode(one), type=Ledger)
    assert read_back == one
    assert after(read_back, 1, counted(3), {0: 5}, {0: 8}).totals == counted(8)


def test_a_new_partition_joins_the_ledger():
    one = after(None, 0, counted(5), {0: 0}, {0: 5})
    two = after(one, 1, counted(3), {1: 0}, {1: 3})
    assert (two.starts, two.ends, two.totals) == ({0: 0, 1: 0}, {0: 5, 1: 3}, counted(8))


def test_reading_the_topic_again_begins_a_new_ledger_that_knows_how_far_the_old_one_went():
    old = after(after(None, 0, counted(5), {0: 0}, {0: 5}), 7, counted(3), {0: 5}, {0: 8})
    new = after(old, 0, counted(4), {0: 0}, {0: 4})
    assert (new.starts, new.ends, new.totals, new.furthest) == ({0: 0}, {0: 4}, counted(4), {0: 8})
    later = after(new, 1, counted(4), {0: 4}, {0: 8})
    assert later.totals == counted(8)
    assert later.furthest == {0: 8}


ways = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["once", "twice", "from the start"])), max_size=20)


@given(ways)
def test_totals_are_the_messages_from_the_starts_to_the_ends(steps):
    ledger, at, number = None, 0, 0
    for size, how in steps:
        if how == "from the start":
            at, number = 0, 0
        for _ in range(2 if how == "twice" else 1):
            ledger = after(ledger, number, counted(size), {0: at}, {0: at + size})
        at, number = at + size, number + 1
        assert ledger.totals.read == sum(ledger.ends.values()) - sum(ledger.starts.values())
