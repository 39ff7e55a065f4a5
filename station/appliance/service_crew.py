"""The threads that answer calls: a fixed number works, others that wait for a client do not count."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[], None]

MOST = 256
"""Threads in all: so many waiting for a client would have to come from several (see ``service_intake``)."""


class Crew(Executor):
    """Carries out what is submitted, in its order, in ``at_once`` threads; safe to call from any thread.

    ``concurrent.futures`` knows no thread that steps aside: one that waits would have to be worth a working one, and
    a pool large enough for all that wait lets as many work, which get in one another's way.
    """

    def __init__(self, at_once: int, most: int = MOST) -> None:
        self._at_once = at_once
        self._most = max(most, at_once)
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._surplus = 0

    def start(self) -> None:
        """Begin to work."""
        with self._lock:
            for _ in range(self._at_once):
                self._add()

    def submit(self, work: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        """Have it carried out by the next free thread."""
        future: Future[T] = Future()

        def carry_out() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*arguments, **named))
            except BaseException as error:  # as every executor: the thread lives on, who asks the future is told
                future.set_exception(error)

        self._work.put(carry_out)
        return future

    def step_aside(self) -> bool:
        """One of the working threads waits from now on: another one works in its stead. False: there are too many."""
        with self._lock:
            if self._surplus:
                self._surplus -= 1
            elif len(self._threads) < self._most:
                self._add()
            else:
                return False
            return True

    def step_back(self) -> None:
        """One that stepped aside works again: the next one that has done its work ends."""
        with self._lock:
            self._surplus += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all threads after what was submitted before."""
        with self._lock:
            threads = tuple(self._threads)
            self._surplus = 0
        for _ in threads:
            self._work.put(None)
        for thread in threads if wait else ():
            thread.join()

    def _add(self) -> None:
        thread = threading.Thread(target=self._run, name="appliance", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work  # and what it holds, before the next one comes
            if self._is_surplus():
                return

    def _is_surplus(self) -> bool:
        with self._lock:
            if not self._surplus:
                return False
            self._surplus -= 1
            self._threads.discard(threading.current_thread())
            return True
