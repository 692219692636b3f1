"""How long the live page's questions to the stores take, at rest and while a backlog drains."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from bench.notebook import Notebook
from bench.readers import WARM_S, warm
from bench.system import System
from dashboard import queries
from dashboard.stores import COUNT_EVERY_S
from observability import settings
from services import hops
from spark import stores
from spark.contract import DATABASE

TIMES = 20
AT_REST, WHILE = "at rest", "while a backlog drains"


def measure(of: System, book: Notebook) -> None:
    """Each of the page's questions, again and again."""
    wanted = settings.read(stores.Settings, of.env)
    session = hops.cassandra(wanted)
    with warm(of, book.size.warm) as lanes, hops.mongo(wanted) as client:
        statements = queries.prepare(session)
        questions: dict[str, Callable[[], object]] = {
            "sums": lambda: queries.sums(session, statements, datetime.now(UTC)),
            "newest users": lambda: queries.newest(client[DATABASE]),
            "count of users": lambda: queries.stored(client[DATABASE], COUNT_EVERY_S),
        }
        ask(book, questions, AT_REST)
        users = of.fill(2 * book.size.little).users
        since = lanes.log.stat().st_size
        lanes.read(1, WARM_S, since)
        ask(book, questions, WHILE)
        lanes.read(users, WARM_S, since)
    session.cluster.shutdown()


def ask(book: Notebook, questions: dict[str, Callable[[], object]], case: str) -> None:
    took: dict[str, list[float]] = {name: [] for name in questions}
    for _ in range(TIMES):
        for name, question in questions.items():
            began = time.perf_counter()
            question()
            took[name].append((time.perf_counter() - began) * 1000)
    for name, ms in took.items():  # in one system, within seconds: one sample, not many
        for q in (0.5, 0.95):
            book.note(name, f"answered, p{q * 100:.0f}", float(np.quantile(ms, q)), "ms", case=case)
