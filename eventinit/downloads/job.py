"""One file that a fetch has to bring."""

from dataclasses import dataclass
from pathlib import Path

from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.remote import Checksum, RemoteFile
from eventinit.downloads.verification import can_check


@dataclass(slots=True, eq=False)
class Job:
    """A file that is missing.

    Attributes:
        file: The file as the store has it that listed the model.
        path: Its final path.
        origin: The identity of the store that listed it.
        counted: How many of its bytes the progress counts as done.
    """

    file: RemoteFile
    path: Path
    origin: str
    counted: int = 0

    def record(self, checksum: Checksum | None, *, compared: bool, mtime_ns: int, boot_id: str | None) -> HeldFile:
        """Return the record of the file when it is complete; ``compared`` says that the checksum is the store's too."""
        verified = checksum.algorithm if checksum and compared else "size only"
        file = self.file
        # From whichever mirror it came: the next start asks the one that listed it, by this version.
        return HeldFile(
            file.name,
            file.size,
            file.version,
            checksum,
            verified,
            mtime_ns=mtime_ns,
            boot_id=boot_id,
            origin=self.origin,
        )


def expected_checksum(listed: RemoteFile, asked: RemoteFile) -> Checksum | None:
    """Return the checksum that a file must have, if a store knows one that can be computed here."""
    known = [file.checksum for file in (listed, asked) if file.checksum and can_check(file.checksum.algorithm)]
    return known[0] if known else None
