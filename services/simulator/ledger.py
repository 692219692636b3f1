"""What one run remembers of its clients: how many users each may still have, and what was served."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

_SEEDS = 1000  # as many (seed, results) keep their highest page; the one served longest ago goes first


class Limit:
    """
    So many users for each client in each fixed window of time, counted in users, not in requests; 0 means no limit.

    As with the real server, the request that crosses the limit is still served whole and the next one is refused.
    """

    def __init__(self, users: int, window_s: float, clock: Callable[[], float]) -> None:
        self._users, self._window_s, self._clock = users, window_s, clock
        self._lock = threading.Lock()
        self._start = clock()
        self._taken: Counter[str] = Counter()

    def take(self, client: str, users: int) -> int | None:
        """Count the users for the client and return None, or how many it has had where it may have no more."""
        with self._lock:
            now = self._clock()
            if now - self._start >= self._window_s:
                self._start = now - (now - self._start) % self._window_s
                self._taken.clear()
            if self._users and self._taken[client] >= self._users:
                return self._taken[client]
            self._taken[client] += users
            return None


class Journal:
    """Counts since the start; a page counts as it is sent, so that what a client received whole is always in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._limited = self._users = 0
        self._statuses: Counter[int] = Counter()
        self._pages: OrderedDict[tuple[str, int], int] = OrderedDict()

    def request(self) -> None:
        with self._lock:
            self._requests += 1

    def limited(self) -> None:
        with self._lock:
            self._limited += 1

    def answered(self, status: int) -> None:
        with self._lock:
            self._statuses[status] += 1

    @property
    def users(self) -> int:
        """The users of every page that was sent whole."""
        return self._users

    def statuses(self) -> dict[int, int]:
        """How many requests were answered with each status."""
        with self._lock:
            return dict(self._statuses)

    def served(self, seed: str, results: int, page: int, users: int) -> None:
        """Note a page that is sent whole, with so many users on it."""
        with self._lock:
            self._users += users
            self._pages[seed, results] = max(page, self._pages.get((seed, results), 0))
            self._pages.move_to_end((seed, results))
            if len(self._pages) > _SEEDS:
                self._pages.popitem(last=False)

    def as_object(self) -> dict[str, Any]:
        """The counts, and for each seed and page size the highest page that was sent whole."""
        with self._lock:
            pages = [{"seed": seed, "results": size, "page": page} for (seed, size), page in self._pages.items()]
            return {
                "requests": self._requests,
                "limited": self._limited,
                "users_served": self._users,
                "pages": pages,
            }
