"""``python -m gridpilot`` is ``gridpilot``."""

import sys

from gridpilot.cli import main

if __name__ == "__main__":
    sys.exit(main())
