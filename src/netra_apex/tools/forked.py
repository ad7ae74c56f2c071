"""The process that the calls of one module's isolated tools are forked from: it has the module, and nothing else.

Why not fork the server: it has threads, and its memory and sockets are no tool's business. Why not the standard
library's fork server: that one is shared with whatever else the application forks, has the server's whole environment,
and leaves killing to others, who do not know what a call has started.

It runs no code of the application but for the import of the module, so that it always can do what it is for: whatever
ends the server, the calls' sockets close, and each closed socket is a call to be killed.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec
import structlog

from netra_apex.tools.child import adopt_orphans, held_bytes, run_call
from netra_apex.tools.reach import Place, load

LAST_SECONDS = 1.0  # how long killed calls may take to be gone when the server has ended

_log = structlog.get_logger(__name__)


def serve(descriptor: int, place: str) -> None:
    """Imports the module, and forks a call for each pair of sockets that comes, until the server closes its own."""
    control = socket.socket(fileno=descriptor)
    control.settimeout(None)
    control.set_inheritable(False)
    # A service manager tells every process of a server to end; which calls may end before it is for the server to say.
    # Calls have these too. No SIG_IGN: programs that a tool starts would inherit that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    adopt_orphans()
    _preload(control, msgspec.json.decode(place, type=Place))
    # What there is now is never freed: a child need not copy the pages for the collector's marks.
    gc.collect()
    gc.freeze()
    Forks(control).serve()
    # Without exit functions: those of the module are the server's to run.
    os._exit(0)


def _preload(control: socket.socket, place: Place) -> None:
    """Imports the module; ends the process if the server ends meanwhile, as an import may take for ever."""
    done, told = socket.socketpair()

    def watch() -> None:
        poll = select.poll()
        poll.register(control, select.POLLRDHUP)
        poll.register(done, select.POLLIN)
        if control.fileno() in dict(poll.poll()):
            os._exit(1)

    watching = threading.Thread(target=watch)
    watching.start()
    # Each call imports it again where it failed, and tells why.
    with contextlib.suppress(BaseException):
        load(place)
    told.close()
    watching.join()  # no thread of ours is there at a fork
    done.close()
    if threading.active_count() > 1:
        _log.warning("a module with isolated tools starts threads when it is imported", module=place.module)


class Forks:
    """The calls that have been forked, by their processes; each has its life, a socket whose other end is the server's.

    The server closes its end, or shuts it: the call is to be killed. A call has ended: its exit code is written there.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lives: dict[int, socket.socket] = {}
        self._pid = os.getpid()
        self._held = held_bytes()
        self._children = Path(f"/proc/self/task/{self._pid}/children")
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.settimeout(0)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def serve(self) -> None:
        """Until the server has ended; then until every call has, for a moment at most."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        alive = True
        while alive:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._control.fileno() in ready:
                alive = self._begin()
            for pid in [pid for pid, life in self._lives.items() if life.fileno() in ready]:
                self._kill(pid)
            self._reap()
        self._forget(self._control)
        for pid in tuple(self._lives):
            self._kill(pid)
        last = time.monotonic() + LAST_SECONDS
        while self._reap() and time.monotonic() < last:
            self._poll.poll(LAST_SECONDS * 1000)

    def _begin(self) -> bool:
        """Forks the call whose sockets come; False where the server has ended."""
        try:
            told, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        except ConnectionError:
            return False
        if not told:
            return False
        data, life = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for end in (data, life):
            end.settimeout(None)
            end.set_inheritable(False)
        with data:
            if select.select([life], [], [], 0)[0]:
                life.close()  # it was given up while it waited here
                return True
            try:
                pid = os.fork()
            except OSError as error:
                _tell(life, str(error))
                return True
            if not pid:
                self._become(data, life)
        self._lives[pid] = life
        self._poll.register(life, select.POLLIN)
        return True

    def _become(self, data: socket.socket, life: socket.socket) -> NoReturn:
        """The child: of its parent's descriptors it keeps that of its call alone."""
        for each in (life, self._control, self._woken, self._wake, *self._lives.values()):
            each.close()
        run_call(data, self._pid, self._held)

    def _kill(self, pid: int) -> None:
        # Once is enough: a socket that has been shut stays ready.
        self._forget(self._lives[pid])
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)  # it has not made its session yet; not reaped, it is there in any case

    def _forget(self, end: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(end)

    def _reap(self) -> bool:
        """Takes leave of each child that has ended, and of all that it has left; whether there are others."""
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(512):
                pass
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                self._bury(ended.si_pid)
        except ChildProcessError:
            return False
        return True

    def _bury(self, pid: int) -> None:
        life = self._lives.pop(pid, None)
        if life is not None:
            # Not reaped yet, so that the number of its group cannot be another's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._kill_orphans()
        if life is not None:
            self._forget(life)
            _tell(life, str(os.waitstatus_to_exitcode(status)))

    def _kill_orphans(self) -> None:
        """Children that are no calls were started by calls that have ended, and are this process's now."""
        try:
            children = self._children.read_text()
        except OSError:
            return  # a kernel without this list; the call's own group has been killed
        for pid in set(map(int, children.split())) - self._lives.keys():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Hears a signal, which is all that is wanted."""
    del number, frame


def _tell(life: socket.socket, what: str) -> None:
    """The last that the server hears of a call."""
    # It may have closed its end.
    with life, contextlib.suppress(OSError):
        life.send(what.encode())
