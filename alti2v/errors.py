"""The exceptions of alti2v, each with the exit status that the command line ends with.

    Alti2vError         1    something failed
    ├── UsageError      2    a different command line mends it: an option, a path, a wrong directory
    ├── RemoteError     3    the remote side kept something from us; run again later
    ├── DamagedError    4    what lies on disk is not what was written
    │   └── VersionError     it was written by another format version
    ├── DataError       1    the data at hand does not allow what was asked for
    └── StorageError    1    the disk or the object store refused a write

A failure of ONE post, file or sample is never an exception that leaves its stage: it is a
`records.Status` with a reason, counted, and shown. Exceptions are for what stops a whole stage.
Messages say what happened, to which item, and what to do next, in one line.
"""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM asked a stage to end: like Ctrl-C, but the exit status is 143 (128 + the signal's number)."""


class Alti2vError(Exception):
    """Something failed; the message is fit to be shown as it is."""

    exit_status = 1


class UsageError(Alti2vError):
    """A different command line mends it."""

    exit_status = 2


class RemoteError(Alti2vError):
    """The remote side kept something from us: unreachable, refusing, or answering nonsense."""

    exit_status = 3


class DamagedError(Alti2vError):
    """Bytes on disk differ from what was written there."""

    exit_status = 4


class VersionError(DamagedError):
    """A directory was written by a format version that this program does not read."""


class DataError(Alti2vError):
    """The data at hand does not allow what was asked for."""


class StorageError(Alti2vError):
    """A disk or an object store refused a write; nothing that was stored before is lost."""
