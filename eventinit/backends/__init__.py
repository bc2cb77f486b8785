"""The real parts of a start, one file per kind."""
