"""`python -m bench [--quick] [NAME ...]`: measure, and print tables with ratios."""

import argparse
from collections.abc import Callable

from bench import (
    columnar,
    columnar_equality,
    core,
    faithful,
    health,
    leftover,
    listing,
    runs,
    sweep,
)

PROGRAMS: dict[str, Callable[..., None]] = {
    "planning": core.planning,
    "startup": core.startup,
    "leftover": leftover.leftover,
    "columnar": columnar.columnar,
    "columnar-equality": columnar_equality.equality,
    "sweep": sweep.sweeps,
    "faithful": faithful.faithful,
    "faithful-ten-years": faithful.ten_years,
    "single": runs.single,
    "concurrent": runs.concurrent,
    "memory": runs.memory,
    "health": health.health,
    "listing": listing.listing,
}


def main() -> None:
    """Run the programs named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, rougher figures")
    arguments = parser.parse_args()
    for name in arguments.names or PROGRAMS:
        if name not in PROGRAMS:
            parser.error(f"no such program: {name}; there are {', '.join(PROGRAMS)}")
        PROGRAMS[name](quick=arguments.quick)


if __name__ == "__main__":
    main()
