"""Ready-made subscribers, for a configuration's ``handlers`` or for ``bus.attach``."""

if __name__ != "eventinit.handlers":
    raise ImportError("this folder is installed as eventinit.handlers: import that instead of handlers")

from eventinit.handlers.event_log import EventLog

__all__ = ["EventLog"]
