"""Errors for users: one line that says what happened, one that says what to do.

Exit codes of every command: 0 all good, 1 finished with warnings, 2 wrong usage or configuration, 3 failed,
130 interrupted.
"""

from leitstand.text import visible

EXIT_OK = 0
EXIT_WARNINGS = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130  # as shells report a program that SIGINT ended


class LeitstandError(Exception):
    """Base of all errors that a user is meant to read.

    ``message`` says what happened, ``hint`` what to do. Neither ever contains a secret.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def lines(self) -> list[str]:
        """The error as printed: the message and, if there is one, the hint, on a line each."""
        return [visible(line) for line in (self.message, f"  hint: {self.hint}" if self.hint else "") if line]


class UsageError(LeitstandError):
    """The command line, a setting or a file named by it is wrong; nothing was done."""

    exit_code = EXIT_USAGE
