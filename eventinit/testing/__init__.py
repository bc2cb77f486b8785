"""Fakes of everything outside the process, for tests of handlers and of programs that start nodes."""
