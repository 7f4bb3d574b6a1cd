"""A little member: answers every GET with 200; /child starts a process that sleeps, /hold is never answered.

    python little.py PORT [ignores|hangs|blocks]

The last word: what it makes of SIGTERM, instead of ending.
Standard library only, so that it is up in a moment.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/child":
            subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)  # little-child"])
        while self.path == "/hold":
            time.sleep(60)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        sys.stdout.write(f"{self.path}\n")
        sys.stdout.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    if "ignores" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "hangs" in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: None)
    if "blocks" in sys.argv:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server.serve_forever()
