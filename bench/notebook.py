"""Where the measures write their samples down, and say what they are at."""

import time
import traceback
from dataclasses import dataclass, field

from bench.readers import LANES, Kind
from bench.result import Sample
from bench.size import Size

LONGEST = 1000  # characters of a reason


@dataclass
class Notebook:
    """The samples of one run so far."""

    size: Size
    tried: Kind = LANES
    what: str = ""
    samples: list[Sample] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    failed: bool = False
    began: float = field(default_factory=time.monotonic)

    def note(self, subject: str, metric: str, value: float, unit: str, *, at: int = 0, case: str = "") -> None:
        """Keep a sample of round `at`."""
        self.samples.append(Sample(self.what, subject, metric, unit, value, at, case))
        where = f"{self.what}{f', {case}' if case else ''}, round {at + 1}"
        self.say(f"{where}: {subject}, {metric}: {value:,.4g} {unit}")

    def fail(self, what: str, error: Exception) -> None:
        """Write down what has no figures, or not all, and why."""
        self.failed = True
        said = str(getattr(error, "stderr", None) or "")  # of a process
        self.absent[what] = f"{type(error).__name__}: {error} {said[-LONGEST:]}".strip()[: 2 * LONGEST]
        self.say(f"{what} FAILED: {traceback.format_exc()}")

    def say(self, words: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f} s  {words}", flush=True)
