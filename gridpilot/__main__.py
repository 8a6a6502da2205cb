"""``python -m gridpilot`` is ``gridpilot``."""

import contextlib
import os
import sys

with contextlib.suppress(OSError):  # a folder that is gone; the command says so
    if sys.path and sys.path[0] in ("", os.getcwd()):  # Python puts the working folder before its own library
        del sys.path[0]

from gridpilot.cli import main

if __name__ == "__main__":
    sys.exit(main())
