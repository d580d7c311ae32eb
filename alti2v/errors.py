"""Exceptions of alti2v, each with the exit status of the command line.

    Alti2vError         1    an operation failed
    ├── UsageError      2    another command line is needed: an option, a path, a wrong directory
    ├── RemoteError     3    a remote side withheld something; run again later
    ├── DamagedError    4    bytes on disk differ from those that were written
    │   └── VersionError     they were written by another format version
    ├── DataError       1    the available data do not allow the operation
    └── StorageError    1    the disk or the object store refused a write
        └── RemoteReadError  3    an object store or a web server did not deliver; run again later

A failure of ONE post, file or sample is never an exception that leaves its stage: it is a
`records.Status` with a reason, counted, and shown. Exceptions stop a whole stage.
Messages say what happened, to which item, and what to do next, in one line.
"""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM requested the end of a stage; the exit status is 143 (128 + the signal's number)."""


class HungUpError(KeyboardInterrupt):
    """SIGHUP, sent when a terminal closes, requested the end of a stage; the exit status is 129."""


class Alti2vError(Exception):
    """An operation failed; the message can be shown to the user as it is."""

    exit_status = 1


class UsageError(Alti2vError):
    """Another command line is needed."""

    exit_status = 2


class RemoteError(Alti2vError):
    """A remote side is unreachable, refuses, or sends nonsense."""

    exit_status = 3


class DamagedError(Alti2vError):
    """Bytes on disk differ from those that were written."""

    exit_status = 4


class VersionError(DamagedError):
    """A directory was written by a format version that this program does not read."""


class DataError(Alti2vError):
    """The available data do not allow the operation."""


class StorageError(Alti2vError):
    """A disk or an object store refused a write; nothing that was stored before is lost."""


class RemoteReadError(StorageError):
    """An object store or a web server did not deliver what was asked for."""

    exit_status = 3


def first_line(exc: BaseException) -> str:
    """Return the first line of an exception's text, for a message of one line; "" if it has none."""
    return next(iter(str(exc).splitlines()), "")
