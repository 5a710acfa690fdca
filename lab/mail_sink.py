"""A mail server that delivers to a folder, one ``.eml`` per mail.

python -m lab.mail_sink PORT FOLDER [ADDRESS]
"""

import itertools
import os
import signal
import sys
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.patience import patient


class Sink:
    """Stores every mail; names sort by arrival, and a reader never sees an incomplete mail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count(len(list(folder.glob("*.eml"))))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Called by aiosmtpd with a complete mail."""
        content = envelope.content or b""
        path = self.folder / f"{next(self.numbers):05}.eml"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())
        unfinished.replace(path)
        return "250 OK"


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    controller = Controller(Sink(folder), hostname=address, port=port, ready_timeout=patient(60))
    controller.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
