"""``python -m gridpilot`` is ``gridpilot``."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):  # Python puts the working folder before its own library
    del sys.path[0]

from gridpilot.cli import main

if __name__ == "__main__":
    sys.exit(main())
