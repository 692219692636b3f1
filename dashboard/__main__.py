"""
The pages' process: telemetry first, so that Prometheus is answered before anybody looks, then Streamlit's server.

Words that are not known here go to `streamlit run` as they are, after those from the settings.
"""

import argparse
import os
import sys
from dataclasses import dataclass

from streamlit.web import cli

from dashboard import process, stores
from observability import settings

APP = settings.ROOT / "dashboard" / "app.py"


@dataclass(frozen=True)
class Settings:
    """Where the pages are served."""

    host: str
    dashboard_port: int


def command(wanted: Settings, more: list[str]) -> list[str]:
    """The words for Streamlit's command line."""
    options = {
        "--server.port": str(wanted.dashboard_port),
        "--server.address": wanted.host,
        "--server.headless": "true",
        "--server.fileWatcherType": "none",
        "--browser.gatherUsageStats": "false",
    }
    return ["run", str(APP), *(word for pair in options.items() for word in pair), *more]


def main(argv: list[str] | None = None) -> int:
    _, more = argparse.ArgumentParser(prog="python -m dashboard", description=__doc__).parse_known_args(argv)
    try:
        env = settings.environ()
        wanted = settings.read(Settings, env)
        settings.read(stores.Settings, env)  # a page would say what is wrong there only later
        process.start(lambda: env)
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    os.chdir(settings.ROOT)  # Streamlit looks for .streamlit/config.toml in the folder it is started in
    cli.main(command(wanted, more), prog_name="streamlit", standalone_mode=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
