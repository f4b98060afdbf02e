"""`python -m orchestrator_entrypoints`: the command line."""

import sys

from orchestrator_entrypoints.cli import main

if __name__ == "__main__":
    sys.exit(main())
