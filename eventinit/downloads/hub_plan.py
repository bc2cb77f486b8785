"""Which files of a commit a fetch wants."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from eventinit.downloads.file_set import is_wanted
from eventinit.downloads.hub_cache import HubFile
from eventinit.ports import DownloadMode, DownloadSettings


def wanted(files: Iterable[HubFile], mode: DownloadMode, settings: DownloadSettings) -> list[HubFile]:
    """Return the files of a mode, as far as they are included and not excluded."""
    return [file for file in files if is_wanted(mode, file.name) and _is_chosen(file.name, settings)]


def _is_chosen(name: str, settings: DownloadSettings) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in settings.exclude):
        return False
    return not settings.include or any(fnmatchcase(name, pattern) for pattern in settings.include)
