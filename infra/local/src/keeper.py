"""Runs the emulator and takes it down, with every process it started, as soon as whoever asked for it is gone.

    keeper.py <grace seconds> <scratch directory> <command> ...

The emulator starts the functions' processes and leaves them behind when it ends. So it runs in a session of its own,
which is killed as a whole. The sign to do so is the end of standard input: a pipe, held open by the parent and closed by
the operating system however the parent dies. With a grace the emulator is first asked to end, and writes its state.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time


def stop(emulator, grace):
    """Ask, wait, then kill the whole session."""
    if grace > 0 and emulator.poll() is None:
        emulator.terminate()
        deadline = time.monotonic() + grace
        while emulator.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    try:
        os.killpg(emulator.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


def adopt_orphans():
    """On Linux: what the emulator leaves becomes our child, to be waited for; elsewhere the system's first process does."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def main():
    grace, scratch, command = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # A terminal's Ctrl-C is the parent's to answer, and a closed terminal closes the pipe too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    adopt_orphans()
    emulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while emulator.poll() is None:
            ready, _, _ = select.select([0], [], [], 0.1)
            if ready and not os.read(0, 1):
                break
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(emulator, grace)
        shutil.rmtree(scratch, ignore_errors=True)


main()
