"""``python -m puma_fast``: the command line where its entry point is not on the path."""

import sys

from puma_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
