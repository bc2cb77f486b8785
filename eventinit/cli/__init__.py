"""The ``eventinit`` command."""

from eventinit.cli.main import main

__all__ = ["main"]
