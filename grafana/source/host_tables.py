"""Host detail: the inventory, the backups and the exporter."""

from grafana.source.elements import Column, Json, table, timeseries
from grafana.source.layout import Row
from grafana.source.states import BACKUP_AGE, NEVER_IN_A_LIST, SUCCESS

HOST = 'job=~"$job", instance=~"$instance"'


def inventory() -> list[Row]:
    """Addresses, packages and watched packages, a row of tables."""
    addresses = {
        "addresses": f"max by (interface, family, address, prefix, scope) (leitstand_address_info{{{HOST}}})"
    }
    packages = {"packages": f"max by (manager) (leitstand_packages{{{HOST}}})"}
    watched = {"watched": f"max by (name, version) (leitstand_watched_package_info{{{HOST}}})"}
    names = [
        Column(label, label.capitalize()) for label in ("interface", "family", "address", "prefix", "scope")
    ]
    return [
        (
            9,
            [
                table("Addresses", "IP addresses, by interface.", addresses, names, ("Interface", False)),
                table(
                    "Packages",
                    "Number of installed packages, by package manager.",
                    packages,
                    [Column("manager", "Manager"), Column("packages", "Installed")],
                    ("Installed", True),
                ),
                table(
                    "Watched packages",
                    "Versions of the most important packages. All: /inventory of the host's exporter.",
                    watched,
                    [Column("name", "Package"), Column("version", "Version")],
                    ("Package", False),
                ),
            ],
        )
    ]


def backups() -> Json:
    """The jobs that back up this host."""

    # `host` is whose data it is, `instance` only reports it.
    def of(name: str, more: str = "") -> str:
        return f'max by (backup, store) (leitstand_backup_{name}{{host=~"$instance"{more}}})'

    def proof(levels: str) -> str:
        proven = of("last_verified_timestamp_seconds", f', level=~"{levels}"')
        return f"(time() - {proven}) or 0 * {of('last_run_success')} - 1"

    queries = {
        "success": of("last_run_success"),
        "age": f"time() - {of('last_success_timestamp_seconds')}",
        "stored": of("stored_bytes"),
        "verified": proof("full|share"),
        "proven": proof("drill"),
    }
    columns = [
        Column("backup", "Job"),
        Column("store", "Store"),
        Column("success", "Last run", mappings=SUCCESS, cell="color-background", width=90),
        Column("age", "Last success", "s", steps=BACKUP_AGE, cell="color-text", decimals=1),
        Column("stored", "Stored", "bytes"),
        Column("verified", "Verified", "s", NEVER_IN_A_LIST, decimals=1),
        Column("proven", "Restore test", "s", NEVER_IN_A_LIST, decimals=1),
    ]
    return table(
        "Backups",
        "Jobs that back up this host.",
        queries,
        columns,
        ("Last success", True),
    )


def collectors() -> Json:
    """How long the exporter takes."""
    return timeseries(
        "Exporter",
        "How long each collector takes in a scrape, and the whole scrape.",
        [
            (f"max by (collector) (node_scrape_collector_duration_seconds{{{HOST}}})", "{{collector}}"),
            (f"max(scrape_duration_seconds{{{HOST}}})", "whole scrape"),
        ],
        "s",
    )
