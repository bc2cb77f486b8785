"""The typed events of a node's start."""

if __name__ != "eventinit.events":
    raise ImportError("this folder is installed as eventinit.events: import that instead of events")
