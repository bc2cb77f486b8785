"""The ``eventinit`` command."""
