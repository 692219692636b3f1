"""
What the topics tell of an outbox that was lost: whom it has published, and how far it had come.

They may have begun to forget. What they still hold is the end of a run, and whoever is at its end has been through all
that lies before it.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator
from itertools import chain, zip_longest

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from services.contract import ROW, USERS, PoisonMessage, decode
from services.outbox_file import short
from services.source import MAX_PAGE, Cursor, generation_of, parted

Place = tuple[int, int]  # a run's generation, and a page of it


class Met:
    """
    Reads both topics, message by message.

    `sent` counts by topic the messages that an outbox has sent. A canary is counted there, and is nobody to be met.
    """

    def __init__(self, places: Collection[TopicPartition], remembered: int) -> None:
        """`remembered`: of how many users, the latest of each partition, the ids are held; 57 bytes each."""
        partitions = [tp.partition for tp in places if tp.topic == USERS]
        each = -(-remembered // max(1, len(partitions)))
        self._ids: dict[int, deque[bytes]] = {n: deque(maxlen=each) for n in partitions}
        self.sent: Counter[str] = Counter()
        self.seed: str | None = None
        self._newest_ms = 0
        self._last_ms: dict[int, int] = {}  # by partition, of what an outbox has sent
        self._reached: dict[tuple[str, int], dict[int, Place]] = {}  # by run and page size: by partition
        self._run_ms: dict[tuple[str, int], int] = {}

    def add(self, record: ConsumerRecord) -> None:
        ours = any(name == ROW for name, _ in record.headers)
        self.sent[record.topic] += ours
        if record.topic != USERS:
            return
        try:
            event = decode(record.value)
        except PoisonMessage:
            return
        if event.canary:
            return
        self._ids[record.partition].append(short(event.user_id))
        if not ours:
            return
        run, generation = parted(event.source.seed)
        if record.timestamp >= self._newest_ms:
            self.seed, self._newest_ms = run, record.timestamp
        key, place = (run, event.source.page_size), (generation, event.source.page)
        reached = self._reached.setdefault(key, {})
        reached[record.partition] = max(place, reached.get(record.partition, place))
        self._run_ms[key] = max(record.timestamp, self._run_ms.get(key, 0))
        self._last_ms[record.partition] = max(record.timestamp, self._last_ms.get(record.partition, 0))

    def user_ids(self) -> Iterator[bytes]:
        """Whom it has published, as the outbox remembers them, from all partitions in turn."""
        return (one for one in chain.from_iterable(zip_longest(*self._ids.values())) if one is not None)

    def cursors(self, nationalities: str) -> Iterator[Cursor]:
        """
        Where each run goes on: at the page that every partition has seen, which may have gone only in part, so it is
        asked again. The generations before it are done, also those of which the topic holds nothing any more.

        A partition that has nothing of a run, and nothing later, may still owe all of the generation.
        """
        for key, reached in self._reached.items():
            (run, size), (generation, page) = key, min(reached.values())
            if any(n not in reached and self._last_ms.get(n, -1) < self._run_ms[key] for n in self._ids):
                page = 1
            for n in range(generation):
                yield Cursor(generation_of(run, n), MAX_PAGE + 1, size, nationalities)
            yield Cursor(generation_of(run, generation), page, size, nationalities)
