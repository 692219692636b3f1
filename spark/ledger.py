"""
What a lane has counted of the messages it has read, kept with what it wrote: the auditor compares it with the stores.

A batch that comes again changes nothing: a ledger keeps what it was before its last batch, and starts from there. A
lane that reads the topic again from its start begins a new ledger.
"""

from collections.abc import Mapping

import msgspec

from spark.contract import Counted, Ledger


def after(
    last: Ledger | None, batch: int, counted: Counted, begins: Mapping[int, int], ends: Mapping[int, int]
) -> Ledger:
    """The ledger once batch number `batch`, which had the messages from `begins` to `ends`, is written."""
    known = {} if last is None else last.furthest
    furthest = known | {partition: max(end, known.get(partition, end)) for partition, end in ends.items()}
    return msgspec.structs.replace(_counted(last, batch, counted, begins, ends), furthest=furthest)


def _counted(
    last: Ledger | None, batch: int, counted: Counted, begins: Mapping[int, int], ends: Mapping[int, int]
) -> Ledger:
    if last is None:
        return Ledger(batch, dict(begins), dict(ends), Counted(), counted, {})
    again = batch == last.batch
    known, totals = (last.ends_before, last.before) if again else (last.ends, last.totals)
    if any(begin < known.get(partition, begin) for partition, begin in begins.items()):
        return Ledger(batch, dict(begins), dict(ends), Counted(), counted, {})
    return Ledger(
        batch,
        dict(begins) | last.starts,
        known | dict(ends),
        totals,
        totals.plus(counted),
        known,
    )
