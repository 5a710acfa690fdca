"""Take the documents' pictures from the running stack: ``python -m lab.screenshots`` (needs Chromium)."""

import subprocess
import tempfile
from pathlib import Path

from lab.patience import patient
from lab.promises import page_shows
from lab.stack import REPOSITORY, Stack

IMAGES = REPOSITORY / "docs" / "images"
# The last five keep Chromium off the Internet, which would only slow it down here.
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-extensions"),
]


def take(url: str, path: Path, width: int = 900, height: int = 760) -> None:
    """A picture of a page, as PNG."""
    with tempfile.TemporaryDirectory() as profile:
        size = [f"--window-size={width},{height}", f"--user-data-dir={profile}", f"--screenshot={path}"]
        subprocess.run(
            ["chromium", *OPTIONS, *size, url], check=True, capture_output=True, timeout=patient(120)
        )


def main() -> None:
    """The status page with everything up, then with the web site down."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), print) as stack:
        stack.start()
        page_shows(stack, "website", "up")
        take(stack.url("page", "/en/"), IMAGES / "status-page-up.png")
        stack.servers["site"].stop()
        page_shows(stack, "website", "down")
        take(stack.url("page", "/en/"), IMAGES / "status-page-down.png")


if __name__ == "__main__":
    main()
