"""Where the data files of Leitstand are: rules, dashboards, templates."""

from pathlib import Path

from leitstand.errors import LeitstandError

_PACKAGE = Path(__file__).parent


def share(name: str, package: Path = _PACKAGE) -> Path:
    """The folder ``prometheus``, ``grafana`` or ``docs/runbooks``: in the installed wheel, or the checkout.

    Raises LeitstandError if neither exists, as with a copy of only the Python files.
    """
    for folder in (package / "share" / name, package.parent / name, package.parent / "deploy" / name):
        if folder.is_dir():
            return folder
    raise LeitstandError(
        f"the data files '{name}' are not installed", "install Leitstand from its wheel or its checkout"
    )
