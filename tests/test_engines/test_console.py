"""What a person reads, and what goes on when nobody does."""

import subprocess
import sys

from observability.settings import ROOT

DONE = "from engines.console import say\nfor n in range(50_000): say(str(n))\nopen({!r}, 'w').write('done')"


def test_what_is_at_work_goes_on_when_nobody_reads_any_more(tmp_path):
    """As `make down | head -1`: half a system would be left."""
    done = tmp_path / "done"
    command = [sys.executable, "-c", DONE.format(str(done))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
    assert done.read_text() == "done"
