"""Retries end: after so many attempts, or at once when told to stop; and they wait as long as they are asked."""

import itertools
import threading
import time

import pytest

from observability import retry


class Refused(Exception):
    retry_after = 0.3


def fails(times: int):
    calls = []

    def call():
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise Refused(f"{len(calls)}")
        return calls

    return call


def test_it_goes_on_until_it_works_and_waits_as_long_as_it_was_asked():
    calls = retry.policy("x", Refused, longest_s=0.01)(fails(2))
    assert len(calls) == 3
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(calls))


def test_the_last_error_is_raised_as_it_was():
    with pytest.raises(Refused, match="2"):
        retry.policy("x", Refused, attempts=2, longest_s=0.01)(fails(5))


def test_an_error_that_is_not_named_is_not_tried_again():
    with pytest.raises(Refused, match="1"):
        retry.policy("x", KeyError)(fails(5))


def test_a_stop_ends_the_waiting_at_once():
    stopping = threading.Event()
    threading.Timer(0.1, stopping.set).start()
    began = time.monotonic()
    slow = Refused("slow")
    slow.retry_after = 60

    def call():
        raise slow

    with pytest.raises(Refused):
        retry.policy("x", Refused, stopping=stopping)(call)
    assert time.monotonic() - began < 5
