"""
The stores as a page sees them: one question at a time, in a thread of its own, so that a hung store holds up nobody.

    StoreDown    a store could not be reached, or answered with an error; the text says what in a few words

A store that is down is asked again at every call: nothing has to be restarted when it is back.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from cassandra import ConsistencyLevel, DriverException, InvalidRequest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import RoundRobinPolicy
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from dashboard.queries import ContractBroken, Document, Newest, Statements, Sums, newest, prepare, stored, sums
from dashboard.words import word
from observability import access
from observability.logs import Log
from observability.settings import WrongSetting
from spark.contract import DATABASE

T = TypeVar("T")

REQUEST_S = 2.0  # what a driver waits for an answer
# What a page waits for a store: at the first question, which connects; while it is up; and while it is down, as one
# that is back answers sooner. A page that asks every 2 s thus tells of a store that hangs within 3 s.
FIRST_S, PATIENCE_S, MOMENT_S = 2.0, 0.9, 0.3
LATE_S = 5.0  # how old an answer may be that came when nobody waited any more
ASKED_S = 2.5  # what a person who asks waits at most
COUNT_EVERY_S = 15.0  # counting costs the embedded document store a look through an index

SILENT, NO_TABLES = word("it does not answer"), word("it has no tables yet: the stats lane makes them")
UNREADABLE = word("it cannot be read")

log = Log(__name__)


class StoreDown(Exception):
    """A store could not be reached, or answered with an error; the text says what in a few words."""


@dataclass(frozen=True)
class Settings(access.Cassandra, access.Mongo):
    """Where the stores are."""


@dataclass(frozen=True)
class Down:
    """A store without an answer, as a value that a cache can hold: which, where, why and since when."""

    store: str
    address: str
    why: str
    since: datetime


class Store(Generic[T]):
    """
    Puts one question to one store: the answer, or soon that it is down.

    An answer is kept for `keep_s` seconds, and then as long again while the store is asked anew: nobody waits for it.
    """

    def __init__(
        self,
        name: str,
        address: str,
        question: Callable[[], T],
        keep_s: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self.address = address
        self._question = question
        self._keep_s = keep_s
        self._clock = clock
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._asked: Future[T] | None = None
        self._asked_at = 0.0
        self._answered: Future[T] | None = None
        self._answered_at = 0.0
        self._patience_s = FIRST_S
        self._since: datetime | None = None

    def ask(self) -> Future[T]:
        """
        Put the question and return at once; while one is still open, or its answer is kept, that one is it.

        So is one whose answer came when nobody waited any more: a store that is slow once is not down for ever.
        """
        with self._lock:
            if self._asked is None or (self._asked.done() and not self._kept(self._asked) and not self._late()):
                self._asked_at = self._clock()
                self._asked = self._thread.submit(self._question)
            return self._asked

    def _late(self) -> bool:
        """Whether the last answer, a short while old at most, was not given to anybody."""
        asked = self._asked
        missed = asked is not None and asked is not self._answered and asked.done() and asked.exception() is None
        return missed and self._clock() - self._asked_at < LATE_S

    def _kept(self, asked: Future[T]) -> bool:
        return asked.exception() is None and self._clock() - self._asked_at < self._keep_s

    def answer(self, asked: Future[T]) -> T | Down:
        """Wait for the answer, from when it was asked as long as the store's state allows; never an exception."""
        if self._answered and not asked.done() and self._clock() - self._answered_at < 2 * self._keep_s:
            return self._answered.result()
        try:
            found = asked.result(max(0.0, self._asked_at + self._patience_s - self._clock()))
        except TimeoutError:
            return self._down(SILENT)
        except StoreDown as error:
            return self._down(str(error))
        self._answered, self._answered_at = asked, self._asked_at
        if self._since is not None:
            log.info("store is back", store=self.name, down_since=self._since)
        self._since, self._patience_s = None, PATIENCE_S
        return found

    def _down(self, why: str) -> Down:
        if self._since is None:
            self._since = datetime.now(UTC)
            log.warning("store is down", store=self.name, address=self.address, why=why)
        self._patience_s = MOMENT_S
        return Down(self.name, self.address, why, self._since)


class Desk:
    """
    Puts questions that people ask to one store, one after the other: the answer, or that the store is down.

    It is down when there is no answer within `patience_s`; the next question may take as long again.
    """

    def __init__(self, name: str, address: str, patience_s: float) -> None:
        self.name, self.address, self._patience_s = name, address, patience_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"desk-{name}")
        self._since: datetime | None = None

    def ask(self, question: Callable[[], T]) -> T | Down:
        """Wait for the answer; never an exception."""
        asked = self._thread.submit(question)
        try:
            found = asked.result(self._patience_s)
        except TimeoutError:
            asked.cancel()
            return self._down(SILENT)
        except StoreDown as error:
            return self._down(str(error))
        if self._since:
            log.info("store is back", store=self.name, down_since=self._since)
        self._since = None
        return found

    def _down(self, why: str) -> Down:
        if self._since is None:
            log.warning("store is down", store=self.name, address=self.address, why=why)
        self._since = self._since or datetime.now(UTC)
        return Down(self.name, self.address, why, self._since)


class Cassandra:
    """A session that is opened by the first question, and anew by the first one after a failure."""

    def __init__(self, store: access.Cassandra) -> None:
        self._store = store
        self._open: tuple[Cluster, Session, Statements] | None = None

    def sums(self) -> Sums:
        """Read the stats lane's picture as of now; raises as `read`."""
        return self.read(lambda session, statements: sums(session, statements, datetime.now(UTC)))

    def read(self, question: Callable[[Session, Statements], T]) -> T:
        """
        Put a question to a session that is open.

        Raises:
            StoreDown: no node can be reached, none answers, or the tables are not there yet.
        """
        try:
            _, session, statements = self._open = self._open or self._connected()
            return question(session, statements)
        except InvalidRequest as error:
            self.close()
            raise StoreDown(NO_TABLES) from error
        except (DriverException, NoHostAvailable, ConnectionException, OSError) as error:
            self.close()
            raise StoreDown(f"{UNREADABLE} ({type(error).__name__})") from error

    def _connected(self) -> tuple[Cluster, Session, Statements]:
        reading = ExecutionProfile(
            load_balancing_policy=RoundRobinPolicy(),
            consistency_level=ConsistencyLevel.LOCAL_ONE,
            request_timeout=REQUEST_S,
        )
        cluster = Cluster(
            **self._store.cassandra(),
            connect_timeout=REQUEST_S,
            control_connection_timeout=REQUEST_S,
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
            execution_profiles={EXEC_PROFILE_DEFAULT: reading},
        )
        try:
            session = cluster.connect()
            return cluster, session, prepare(session)
        except BaseException:
            cluster.shutdown()
            raise

    def close(self) -> None:
        """Leave nothing behind: a driver that has lost its nodes is replaced, not mended."""
        if self._open is not None:
            self._open[0].shutdown()
            self._open = None


class Mongo:
    """A client, which connects and reconnects by itself."""

    def __init__(self, store: access.Mongo, longest_s: float = 3.0) -> None:
        """
        Connect to nothing yet; `longest_s` is how long an answer may take.

        Raises:
            WrongSetting: the MongoDB URI is none.
        """
        try:
            client: MongoClient[Document] = MongoClient(
                **store.mongo(longest_s, REQUEST_S),
                retryReads=False,  # the page asks again anyway
                tz_aware=True,
                connect=False,
            )
        except PyMongoError as error:
            raise WrongSetting(f"VIGIE_MONGO_URI: {error}") from error
        self._database = client[DATABASE]
        self._longest_s = longest_s

    def newest(self) -> Newest:
        """Read the newest users; raises as `read`."""
        return self.read(newest)

    def stored(self) -> int:
        """Count the stored users; raises as `read`."""
        return self.read(lambda database: stored(database, self._longest_s))

    def read(self, question: Callable[[Database[Document]], T]) -> T:
        """
        Put a question to the database.

        Raises:
            StoreDown: it cannot be reached, does not answer, or a document is not what the contract promises.
        """
        try:
            return question(self._database)
        except ContractBroken as error:
            raise StoreDown(f"a document breaks the contract: {error}") from error
        except PyMongoError as error:
            raise StoreDown(f"{UNREADABLE} ({type(error).__name__})") from error


@dataclass(frozen=True)
class Reading:
    """What the stores said, or that they are down."""

    sums: Sums | Down
    newest: Newest | Down
    stored: int | Down


@dataclass(frozen=True)
class Stores:
    """The page's questions, asked together, so that stores that hang cost the patience of one."""

    sums: Store[Sums]
    newest: Store[Newest]
    stored: Store[int]

    def read(self) -> Reading:
        """What each says now; within FIRST_S at the first time, PATIENCE_S from then on."""
        sums, newest, stored = self.sums.ask(), self.newest.ask(), self.stored.ask()
        return Reading(self.sums.answer(sums), self.newest.answer(newest), self.stored.answer(stored))


def stores(settings: Settings) -> Stores:
    """
    The stores at these addresses; none is connected to before it is asked.

    Raises:
        WrongSetting: the MongoDB URI is none.
    """
    mongo, cassandra = Mongo(settings), Cassandra(settings)
    cassandra_address, mongo_address = addresses(settings)
    return Stores(
        Store("Cassandra", cassandra_address, cassandra.sums),
        Store("MongoDB", mongo_address, mongo.newest),
        Store("MongoDB's count", mongo_address, Mongo(settings, COUNT_EVERY_S).stored, keep_s=COUNT_EVERY_S),
    )


def addresses(settings: Settings) -> tuple[str, str]:
    """Where Cassandra and MongoDB are, without what must not be shown."""
    mongo = urlsplit(settings.mongo_uri).netloc.rpartition("@")[2]  # what comes before is a password
    return f"{settings.cassandra_hosts}:{settings.cassandra_port}", mongo
