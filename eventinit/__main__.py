"""``python -m eventinit`` is the ``eventinit`` command."""

import sys

from eventinit.cli import main

if __name__ == "__main__":
    sys.exit(main())
