"""`python -m grafana` writes grafana/dashboards/*.json."""

import argparse
import sys

from grafana.catalogue import BOARDS, FOLDER
from grafana.draw import text


def main() -> int:
    argparse.ArgumentParser(prog="python -m grafana", description=__doc__).parse_args()
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(text(board))
    return 0


if __name__ == "__main__":
    sys.exit(main())
