"""Stands in for `vitruvian serve`: listens where it is told, says so, and ends on SIGTERM (or does not)."""

import signal
import socket
import sys
import time

host, port = sys.argv[sys.argv.index("--address") + 1].removeprefix("tcp://").split(":")
if "--stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "--broken" in sys.argv:
    sys.exit("no such model")
listener = socket.create_server((host, int(port)))
print(f"listening on {port}", flush=True)
while True:
    time.sleep(0.05)
