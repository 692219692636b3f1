"""
`python -m engines.clocked MODULE` is `python -m MODULE` for a program whose clock libfaketime may move.

libfaketime 0.9.10 refuses (EINVAL) the system call of Python's `time.sleep` where it leaves the monotonic clock alone;
waiting for a lock, which is as long, it lets pass. And a JVM under it hardly moves: the program's children have the
right time.
"""

import os
import runpy
import sys
import threading
import time


def mend() -> None:
    """From now on `time.sleep` of this process works, and its children are not concerned."""
    os.environ.pop("LD_PRELOAD", None)
    time.sleep = sleep  # type: ignore[assignment]  # its argument may also be an Index


def sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


if __name__ == "__main__":
    mend()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
