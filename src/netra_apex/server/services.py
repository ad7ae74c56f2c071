"""What the HTTP and socket doors of one process work with."""

from dataclasses import dataclass

from netra_apex.runtime import Runtime
from netra_apex.server.auth import Authenticator
from netra_apex.server.passwords import Passwords
from netra_apex.server.readiness import Readiness
from netra_apex.server.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Services:
    """The running parts, made together when the runtime starts and gone when it ends."""

    runtime: Runtime
    authenticator: Authenticator
    sessions: Sessions
    passwords: Passwords
    readiness: Readiness

    def set_draining(self, draining: bool) -> None:  # noqa: FBT001 - what the house calls, with what it was asked
        """An administrator has this process take no new work, or take some again."""
        self.runtime.admission.draining = self.readiness.draining = draining

    def start_draining(self) -> None:
        """From now on new messages are refused and `/readyz` says so; what runs goes on."""
        self.runtime.start_draining()
        self.readiness.draining = True
