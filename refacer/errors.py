"""The errors a user can meet, each with the exit code of the process.

RefacerError                    1   something failed that has no better name
├── UsageError                  2   the command line asks for something impossible
├── NoFace                      3   no face, or none large enough, in the picture
├── Mismatch                    4   two inputs do not belong together
│   ├── ShapeMismatch           4   a code or picture has another shape than the network's
│   └── PassportMismatch        4   a face without passport, or of another picture
├── InputRefused                5   corrupt, too large, unsafe or not finite
├── OutOfMemory                 6   the device's memory did not suffice, even after backing off
├── OutputNotWritable           7   the output cannot be made
└── WeightsMissing              8   a weight file is not installed

A message is one line: what, where, what to do next.
"""


class RefacerError(Exception):
    """Something failed; the message says what, where, and what to do next.

    ends_all: every further item would meet it, so that it is said once.
    """

    exit_code = 1
    ends_all = False


class RefacerWarning(UserWarning):
    """Something the user should know though the work went on; the command line says it in a line."""


class UsageError(RefacerError):
    """The command line asks for something impossible."""

    exit_code = 2


class NoFace(RefacerError):
    """No face, or none large enough, was found in a picture."""

    exit_code = 3


class Mismatch(RefacerError):
    """Two inputs do not belong together."""

    exit_code = 4


class ShapeMismatch(Mismatch):
    """A code or a picture has another shape than the network expects."""


class PassportMismatch(Mismatch):
    """A face carries no passport, or the passport of another picture."""


class InputRefused(RefacerError):
    """An input is corrupt, too large, unsafe to read or holds values that are not finite."""

    exit_code = 5


class OutOfMemory(RefacerError):
    """The device's memory did not suffice, even after backing off."""

    exit_code = 6


class OutputNotWritable(RefacerError):
    """An output cannot be created or written."""

    exit_code = 7


class WeightsMissing(RefacerError):
    """A weight file that is needed is not installed."""

    exit_code = 8
    ends_all = True
