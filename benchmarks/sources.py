"""What sources and consumers reach, on real sequences with truth and on files made here, in one table.

    python -m benchmarks.sources --data ../shared/data --out sources.json [--only multiview] [--cache DIR]

A part is a file `benchmarks/sources_*.py` with `rows(data, cache)`. Sequences below --data are told by what they hold,
never by name; a kind without data prints "skipped", and a part that fails is a row with its error. Exit code 1 where a
target is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.table import Row, report, row

PREFIX = "sources_"


def parts() -> list[str]:
    """Names of the parts there are, sorted."""
    return sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))


def rows_of(part: str, data: Path, cache: Path) -> list[Row]:
    """Rows of one part, named after it; one failed row where it raises."""
    begin = time.monotonic()
    try:
        found = import_module(f"benchmarks.{PREFIX}{part}").rows(data, cache)
    except Exception as error:  # the others still have something to say
        traceback.print_exc()
        return [row(f"{part}: {type(error).__name__}: {error}", None, "", "runs", False)]
    print(f"{part}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return [{**one, "name": f"{part}: {one['name']}"} for one in found]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"),
                        help="folder of sequences (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="JSON of all rows")
    parser.add_argument("--only", action="append", choices=parts(), help="this part; may be repeated")
    parser.add_argument("--cache", type=Path, help="keeps what the parts make; default: a temporary folder")
    args = parser.parse_args(argv)
    if not args.data.is_dir():
        print(f"{args.data}: no such folder; parts that need its sequences are skipped", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="sources-") as temp:
        cache = args.cache or Path(temp)
        rows = []
        for part in args.only or parts():
            (cache / part).mkdir(parents=True, exist_ok=True)
            rows += rows_of(part, args.data, cache / part)
    return report("Sources and consumers", rows, args.out)


if __name__ == "__main__":
    sys.exit(main())
