"""The tables of docs/inventory.md: sources and kinds."""

from exporter.inventory import SOURCES
from exporter.inventory.kinds import KINDS

MARK = "<!-- The tables below are made by docs/reference/generate.py from the code. -->\n"


def inventory_page(page: str) -> str:
    """The page as it is down to the mark, and all tables below it as they should be."""
    return f"{page.partition(MARK)[0]}{MARK}\n{sources_table()}\n## Kinds\n\n{kinds_table()}"


def kinds_table() -> str:
    """Every kind of item: its series and its fields."""
    blocks = []
    for name, kind in KINDS.items():
        rows = [
            f"| `{field}` | {meaning or field.replace('_', ' ')} |" for field, meaning in kind.fields.items()
        ]
        labels = ", ".join(f"`{label}`" for label in kind.labels)
        head = f"#### `{name}`\n\n{kind.help} Series `leitstand_{name}_info`, labels {labels}.\n"
        blocks.append("\n".join([head, "| field | meaning |", "|---|---|", *rows]))
    return "\n\n".join(blocks) + "\n"


def sources_table() -> str:
    """Every source: what it finds, how long it may take, how often it runs."""
    rows = []
    for name, entry in SOURCES.items():
        kinds = ", ".join(f"`{kind}`" for kind in entry.kinds)
        often = "each minute" if entry.quick else "each interval"
        unchanged = ", unless its files are unchanged" if entry.watches else ""
        rows.append(f"| `{name}` | {entry.summary} | {kinds} | {entry.limit:g} s | {often}{unchanged} |")
    return "\n".join(["| source | reads | kinds | limit | runs |", "|---|---|---|---|---|", *rows]) + "\n"
