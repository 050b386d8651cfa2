"""What can go wrong before a server answers: the machine's fault, or that of what it loads."""

from __future__ import annotations

from crossrec.serving.releases.errors import ReleaseError


class LaunchError(ReleaseError):
    """A server cannot be started, whatever it is to serve."""

    def __init__(self, problem: str, mend: str) -> None:
        """Build the error.

        Args:
          problem: What is wrong, without a full stop.
          mend: What to do about it, without a full stop.
        """
        super().__init__(problem, mend)
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.problem}. {self.mend}"


class NoServerError(LaunchError):
    """The server that was asked for is not on the machine."""


class LoadFailedError(ReleaseError):
    """A server started, but what it was to load made it end, give up or hang."""

    def __init__(self, problem: str, server: str) -> None:
        """Build the error.

        Args:
          problem: What happened.
          server: What the server is called, see `plans.Plan.label`.
        """
        super().__init__(problem, server)
        self.problem = problem
        self.server = server

    def __str__(self) -> str:
        return self.problem
