"""One logger for the package, whose records read well as text and carry their data as fields."""

import logging

_log = logging.getLogger("eventinit")


def log_event(level: int, name: str, error: BaseException | None = None, /, **fields: object) -> None:
    """Log that something happened: ``eventinit.<name> key=value …``, with the fields as attributes of the record."""
    text = " ".join(f"{key}={value}" for key, value in fields.items())
    extra = {f"eventinit_{key}": value for key, value in fields.items()}
    _log.log(level, "eventinit.%s %s", name, text, exc_info=error, extra=extra)
