"""Host detail: alerts, PHP, certificates, timers, the inventory, the backups and the exporter."""

from grafana.source.elements import Column, Json, table, timeseries
from grafana.source.firing import alerts_table
from grafana.source.layout import CHOSEN, Row
from grafana.source.states import BACKUP_AGE, CERTIFICATE, END_OF_LIFE, NEVER_IN_A_LIST, RUNS, SUCCESS

HOST = CHOSEN


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


def alerts() -> Json:
    """What fires about this host."""
    chosen = f" and on (instance) instance:host_health:state{{{HOST}}}"
    description = "Alerts about this host that are firing, and for how long. What to do: docs/runbooks."
    return alerts_table("Alerts of this host", description, chosen, None)


def php() -> list[Json]:
    """Versions with the end of their support, and the pools of PHP-FPM."""
    branch = f"max by (branch, version, sapi) (leitstand_php_version_info{{{HOST}}})"
    ends = f"max by (branch) (leitstand_php_end_of_life_timestamp_seconds{{{HOST}}})"
    versions = {"installed": branch, "end": f"{branch} * on (branch) group_left () {ends} - time()"}

    def pool(name: str) -> str:
        return f"max by (pool, branch) (leitstand_php_fpm_{name}{{{HOST}}})"

    pools = {name: pool(name) for name in ("up", "active_processes", "max_children", "listen_queue")}
    return [
        table(
            "PHP",
            "Installed versions, and how long the PHP project still mends security faults in them.",
            versions,
            [
                Column("branch", "Branch"),
                Column("version", "Version"),
                Column("sapi", "SAPI"),
                Column("end", "Support ends in", "s", steps=END_OF_LIFE, cell="color-text", decimals=0),
            ],
            ("Branch", True),
        ),
        table(
            "PHP-FPM",
            "Pools: whether one runs, its processes and their limit, and requests that wait for one.",
            pools,
            [
                Column("pool", "Pool"),
                Column("branch", "PHP"),
                Column("up", "Runs", mappings=RUNS, cell="color-background", width=90),
                Column("active_processes", "Active"),
                Column("max_children", "At most"),
                Column("listen_queue", "Waiting"),
            ],
            ("Waiting", True),
        ),
    ]


def upkeep() -> list[Json]:
    """What will end or did not run: certificates and timers."""
    expiry = f"max by (path) (leitstand_certificate_expiry_timestamp_seconds{{{HOST}}}) - time()"
    success = f"max by (timer, unit) (leitstand_timer_success{{{HOST}}})"
    last = f"max by (timer) (leitstand_timer_last_trigger_timestamp_seconds{{{HOST}}})"
    timers = {"success": success, "ran": f"0 * {success} + on (timer) group_left () (time() - {last})"}
    return [
        table(
            "Certificates",
            "Certificates in files of this host.",
            {"expiry": expiry},
            [
                Column("path", "File"),
                Column("expiry", "Expires in", "s", steps=CERTIFICATE, cell="color-text", decimals=1),
            ],
            ("Expires in", False),
        ),
        table(
            "Timers",
            "Timers of systemd: whether the last run of its unit succeeded, and when it began.",
            timers,
            [
                Column("timer", "Timer"),
                Column("unit", "Unit"),
                Column("success", "Last run", mappings=SUCCESS, cell="color-background", width=90),
                Column("ran", "Ago", "s", decimals=0),
            ],
            ("Last run", False),
        ),
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
