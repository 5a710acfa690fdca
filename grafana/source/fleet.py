"""Fleet overview: is anything wrong, and where."""

from grafana.source.elements import (
    CRITICAL,
    GOOD,
    WARNING,
    Column,
    Json,
    count_mapping,
    stat,
    table,
    timeline,
    timeseries,
)
from grafana.source.firing import alerts_table, worst_alert
from grafana.source.layout import CHOSEN, arrange, dashboard, host_variables
from grafana.source.states import (
    BACKUP_AGE,
    CERTIFICATE,
    FLEET_UID,
    HOST_STATES,
    HOST_UID,
    LOAD,
    NEVER,
    NEVER_IN_A_LIST,
    NEXT,
    NO_TLS,
    PAGE_AGE,
    SERVICE_STATES,
    SHARE,
    SUCCESS,
    UNTOLD,
    UPDATES,
)

HOSTS = CHOSEN
TO_HOST = f"/d/{HOST_UID}?var-datasource=${{datasource}}&var-instance=${{__value.raw}}&${{__url_time_range}}"
DRILLED = 'max by (backup, host) (leitstand_backup_last_verified_timestamp_seconds{level="drill"})'
# One job that was never drilled counts for more than the age of all others.
OLDEST_PROOF = (
    "-1 * max(group by (backup, host) (leitstand_backup_last_success_timestamp_seconds)"
    f" unless on (backup, host) {DRILLED}) or time() - min({DRILLED}) or vector(-1)"
)
NEXT_RUN = '(min by (backup, host) (leitstand_backup_next_run_timestamp_seconds{action="run"}) - time())'
OLDEST_BACKUP = 'instance:leitstand_backup_last_success_timestamp_seconds:min{instance=~"$instance"}'
# A service that is probed but has no verdict is unknown, never good.
VERDICT = 'max by (service) (service:verdict) or -1 * group by (service) (up{job="probe"})'


def fleet_overview() -> Json:
    """The first dashboard: tiles, one row per host and service, what fires, how it has been."""
    panels = arrange(
        [
            ("Now", [(4, _counts()), (4, _ages())]),
            ("Hosts", [(9, [_hosts()])]),
            ("Services and alerts", [(8, [_services(), _alerts()])]),
            ("Backups", [(7, [_backups()])]),
            ("Over time", [(7, _states()), (8, _curves())]),
        ]
    )
    description = "Every host and service at a glance. A host's name links to its details."
    return dashboard(FLEET_UID, "Fleet overview", description, panels, host_variables(several=True), links=[])


def _count(title: str, description: str, expression: str, color: str) -> Json:
    # No series at all means that nothing is wrong, which is a 0 and not an empty tile.
    return stat(title, description, f"count({expression}) or vector(0)", mappings=count_mapping(color))


def _counts() -> list[Json]:
    state, firing = f"instance:host_health:state{{{HOSTS}}}", 'ALERTS{alertstate="firing", severity="%s"}'
    return [
        stat("Hosts", "Hosts that are configured.", f"count({state})"),
        _count("Hosts down", "Hosts whose exporter does not answer.", f"{state} == 3", CRITICAL),
        _count(
            "Hosts with alerts", "Hosts that answer, but have a firing alert.", f"{state} > 0 < 3", WARNING
        ),
        _count("Services down", "Services that no vantage point reaches.", "service:verdict == 0", CRITICAL),
        _count(
            "Services unknown",
            "Services that are not being measured at the moment.",
            f"({VERDICT}) == -1",
            WARNING,
        ),
        _count("Critical alerts", "Firing alerts that cannot wait.", firing % "critical", CRITICAL),
        _count("Warnings", "Firing alerts that can wait until morning.", firing % "warning", WARNING),
    ]


def _ages() -> list[Json]:
    return [
        stat(
            "Oldest last backup",
            "Time since the last successful run, for the job and store where it is longest.",
            "time() - min(leitstand_backup_last_success_timestamp_seconds) or vector(-1)",
            unit="s",
            mappings=NEVER,
            steps=BACKUP_AGE,
            decimals=1,
        ),
        stat(
            "Oldest restore test",
            "Time since the last successful restore test (drill), for the job where it is longest.",
            OLDEST_PROOF,
            unit="s",
            mappings=NEVER,
            steps=((None, GOOD), (2_678_400, WARNING)),
            decimals=1,
        ),
        stat(
            "Next certificate expiry",
            "Time until the first certificate of a service expires.",
            'min(probe_ssl_earliest_cert_expiry{job="probe"}) - time() or vector(-1)',
            unit="s",
            mappings=NO_TLS,
            steps=CERTIFICATE,
            decimals=1,
        ),
        stat(
            "Security updates",
            "Pending security updates on all hosts.",
            f"{_security_updates('sum')} or vector(0)",
            mappings=count_mapping(WARNING),
        ),
        stat(
            "Status page written",
            "Time since the status page was last written; after 3 minutes it shows everything as unknown.",
            "time() - min(leitstand_status_page_written_timestamp_seconds) or vector(-1)",
            unit="s",
            mappings=NEVER_IN_A_LIST,
            steps=PAGE_AGE,
            decimals=0,
        ),
    ]


def _security_updates(how: str) -> str:
    return f'{how} (leitstand_pending_updates{{{HOSTS}, security="true"}})'


def _hosts() -> Json:
    state = f"group by (instance) (instance:host_health:state{{{HOSTS}}})"
    per_host = {
        "state": f"max by (instance) (instance:host_health:state{{{HOSTS}}})",
        "why": worst_alert(f"(instance:host_health:state{{{HOSTS}}} > 0)"),
        "cpu": f"max by (instance) (instance:node_cpu_utilisation:rate5m{{{HOSTS}}})",
        "memory": f"max by (instance) (instance:node_memory_utilisation:ratio{{{HOSTS}}})",
        "disk": f"max by (instance) (instance:node_filesystem_utilisation:max{{{HOSTS}}})",
        "load": f"max by (instance) (instance:node_load1_per_cpu:ratio{{{HOSTS}}})",
        "uptime": f"time() - max by (instance) (node_boot_time_seconds{{{HOSTS}}})",
        "kernel": f"max by (instance, release) (node_uname_info{{{HOSTS}}})",
        "os": f"max by (instance, pretty_name) (node_os_info{{{HOSTS}}})",
        "updates": f"{_security_updates('sum by (instance)')} or -1 * {state}",
        "backup": f"time() - {OLDEST_BACKUP}",
    }
    columns = [
        Column("instance", "Host", link=TO_HOST, width=160),
        Column("state", "State", mappings=HOST_STATES, cell="color-background", width=90),
        Column("alertname", "Why", width=150),
        Column("cpu", "CPU", "percentunit", steps=SHARE, cell="gauge", decimals=0),
        Column("memory", "Memory", "percentunit", steps=SHARE, cell="gauge", decimals=0),
        Column("disk", "Fullest disk", "percentunit", steps=SHARE, cell="gauge", decimals=0),
        Column("load", "Load per CPU", steps=LOAD, cell="color-text", decimals=2, width=110),
        Column("uptime", "Uptime", "s", decimals=1, width=100),
        Column("pretty_name", "System", width=220),
        Column("release", "Kernel", width=160),
        Column("updates", "Security updates", "none", UPDATES, cell="color-text", width=120),
        Column("backup", "Last backup", "s", steps=BACKUP_AGE, cell="color-text", decimals=1, width=140),
    ]
    description = (
        "One row per host, the worst first. State: the worst of its firing alerts, which Why names. "
        "Last backup: age of the oldest among the last successful ones of the host's jobs."
    )
    return table("Hosts", description, per_host, columns, ("State", True))


def _services() -> Json:
    queries = {
        "state": VERDICT,
        "available": 'avg_over_time(service:available[24h]) or -1 * group by (service) (up{job="probe"})',
        "time": 'max by (service) (probe_duration_seconds{job="probe"})',
        "status": 'max by (service) (probe_http_status_code{job="probe"})',
        "certificate": 'min by (service) (probe_ssl_earliest_cert_expiry{job="probe"} - time())'
        ' or -1 * group by (service) (up{job="probe"})',
    }
    columns = [
        Column("service", "Service"),
        Column("state", "State", mappings=SERVICE_STATES, cell="color-background", width=90),
        Column(
            "available",
            "Up in 24 h",
            "percentunit",
            UNTOLD,
            decimals=2,
            width=100,
        ),
        Column("time", "Response time", "s", width=100),
        Column("status", "HTTP", width=70),
        Column(
            "certificate",
            "Certificate expires in",
            "s",
            NO_TLS,
            CERTIFICATE,
            "color-text",
            width=120,
            decimals=1,
        ),
    ]
    description = (
        "What the public sees: the same verdict as on the status page, of all vantage points together."
    )
    return table("Services", description, queries, columns, ("State", False))


def _alerts() -> Json:
    description = (
        "Alerts that are firing, and for how long. The Watchdog always fires: without it, rules are not "
        "evaluated. What each means and what to do: docs/runbooks."
    )
    return alerts_table("Firing alerts", description, "", Column("instance", "Host", link=TO_HOST))


def _backups() -> Json:
    by = "max by (backup, host, store)"
    interval = f"{by} (leitstand_backup_interval_seconds)"
    queries = {
        "success": f"{by} (leitstand_backup_last_run_success)",
        "age": f"time() - {by} (leitstand_backup_last_success_timestamp_seconds)",
        "interval": interval,
        "next": f"{NEXT_RUN} * on (backup, host) group_right () ({interval} > bool 0)",
        "duration": f"{by} (leitstand_backup_duration_seconds)",
        "source": f"{by} (leitstand_backup_source_bytes)",
        "stored": f"{by} (leitstand_backup_stored_bytes)",
        "verified": _age_of_proof(by, "full|share"),
        "proven": _age_of_proof(by, "drill"),
    }
    columns = [
        Column("backup", "Job"),
        Column("host", "Host", link=TO_HOST),
        Column("store", "Store"),
        Column("success", "Last run", mappings=SUCCESS, cell="color-background", width=90),
        Column("age", "Last success", "s", steps=BACKUP_AGE, cell="color-text", decimals=1),
        Column("interval", "Runs every", "s"),
        Column("next", "Next in", "s", steps=NEXT, cell="color-text", decimals=1),
        Column("duration", "Took", "s"),
        Column("source", "Read", "bytes"),
        Column("stored", "Stored", "bytes"),
        Column("verified", "Verified", "s", NEVER_IN_A_LIST, decimals=1),
        Column("proven", "Restore test", "s", NEVER_IN_A_LIST, decimals=1),
    ]
    description = (
        "Each job in each of its stores. Verified: time since the last success. Restore test: "
        "time since a snapshot was proven restorable by a drill; one store is enough."
    )
    return table("Backups", description, queries, columns, ("Last success", True))


def _age_of_proof(by: str, levels: str) -> str:
    proofs = f'leitstand_backup_last_verified_timestamp_seconds{{level=~"{levels}"}}'
    never = f"-1 * {by.replace('max', 'group')} (leitstand_backup_last_run_success)"
    return f"(time() - {by} ({proofs})) or {never}"


def _states() -> list[Json]:
    return [
        timeline(
            "Hosts",
            "State of each host; the worst of its alerts.",
            f"max by (instance) (instance:host_health:state{{{HOSTS}}})",
            "{{instance}}",
            HOST_STATES,
        ),
        timeline(
            "Services",
            "Verdict for each service. Grey: not measured.",
            VERDICT,
            "{{service}}",
            SERVICE_STATES,
        ),
    ]


def _curves() -> list[Json]:
    shares = [
        ("CPU", "Share of time in which the CPUs were busy.", "instance:node_cpu_utilisation:rate5m"),
        (
            "Memory",
            "Share of memory that is not available to programs.",
            "instance:node_memory_utilisation:ratio",
        ),
        (
            "Fullest disk",
            "Usage of the fullest file system of each host.",
            "instance:node_filesystem_utilisation:max",
        ),
    ]
    return [
        timeseries(
            title,
            description,
            [(f"max by (instance) ({name}{{{HOSTS}}})", "{{instance}}")],
            "percentunit",
            maximum=1,
        )
        for title, description, name in shares
    ]
