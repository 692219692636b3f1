"""One at a time: a lock on a file that ends with the process that holds it, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Somebody else holds the lock; the text says what that means."""


@contextmanager
def alone(file: Path, why: str) -> Iterator[None]:
    """
    Hold `file` alone within the `with`; it and its folders are made.

    Raises:
        Held: somebody else does, with `why`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Held(why) from error
        yield
