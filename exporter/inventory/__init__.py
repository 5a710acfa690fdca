"""What is on this host: software, web, people, certificates. Looked up in the background."""

from exporter.inventory.source import SourceEntry

SOURCES: dict[str, SourceEntry] = {
    "host": SourceEntry("host:read", ("host",), quick=True),
    "addresses": SourceEntry("addresses:read", ("address", "default_route", "dns_server"), quick=True),
    "dpkg": SourceEntry(
        "dpkg:read",
        ("package",),
        watches=("/var/lib/dpkg/status", "/var/lib/apt/extended_states"),
        quick=True,
    ),
}
