"""What a hostile host sends against each rule that joins its series with others'."""

from collections.abc import Mapping

Labels = Mapping[str, str]
# What a host sends, as it writes it, against each rule that joins: to silence it, or to have it tell a lie.
BACKUP = {"backup": "db", "host": "web1", "store": "swift"}
HOSTILE: dict[str, list[tuple[str, Labels, str]]] = {
    "HostMissing": [("expected:host", {"instance": "web9"}, "1x2000")],
    "BackupTooOld": [
        ("leitstand_backup_last_success_timestamp_seconds", BACKUP, "-99999999x2000"),
        ("leitstand_backup_interval_seconds", BACKUP, "1x2000"),
    ],
    "BackupNeverSucceeded": [("leitstand_backup_interval_seconds", BACKUP, "1x2000")],
    "BackupNotProven": [
        ("leitstand_backup_drill_interval_seconds", BACKUP, "1x2000"),
        ("leitstand_backup_last_success_timestamp_seconds", BACKUP, "1x2000"),
    ],
    "BackupNotVerified": [("leitstand_backup_last_success_timestamp_seconds", BACKUP, "1x2000")],
    "BackupNotMeasured": [("leitstand_backup_interval_seconds", BACKUP, "1x2000")],
    "ServiceDown": [("service:maintenance", {"service": "website"}, "1x2000")],
    "ServiceNotMeasured": [("service:verdict", {"service": "website"}, "1x2000")],
    "StatusPageStale": [("leitstand_status_page_written_timestamp_seconds", {}, "99999999x2000")],
    "DiskAlmostFull": [
        (
            "node_filesystem_avail_bytes",
            {"instance": "web1", "device": "/dev/sda1", "mountpoint": "/", "fstype": "ext4"},
            "9e12x2000",
        )
    ],
    "DiskWillFill": [
        ("node_filesystem_avail_bytes", {"device": "/dev/vda1", "mountpoint": "/", "x": str(n)}, "9-1x2000")
        for n in range(2)
    ],
    "InodesWillRunOut": [
        ("node_filesystem_files_free", {"device": "/dev/sda1", "mountpoint": "/", "x": str(n)}, "9-1x2000")
        for n in range(2)
    ],
    "HostRebooted": [("leitstand_reboot_required", {"x": str(n)}, "1x2000") for n in range(2)],
    "TimerFailed": [("node_systemd_unit_state", {"name": "rotate.service", "state": "failed"}, "1x2000")],
    "RemoteWriteBehind": [
        (
            "prometheus_remote_storage_highest_timestamp_in_seconds",
            {"instance": "a:9090"},
            "9999x2000",
        )
    ],
    "SystemdUnitFailed": [("leitstand_failed_units", {"severity": str(n)}, "0x2000") for n in range(2)],
    "DeploymentDrift": [
        (
            "leitstand_deployment_wanted_info",
            {"host": "web1", "release": "1.0", "configuration": "cc"},
            "1x2000",
        ),
        *(("leitstand_exporter_build_info", {"version": "9", "release": str(n)}, "1x2000") for n in range(2)),
    ],
    "vantage:connected": [("vantage:connected", {"vantage": name}, "1x2000") for name in ("a", "b", "local")],
    "service_vp:ok": [
        ("service_vp:ok", {"service": name, "vantage": "x"}, "1x2000") for name in ("mail", "dns", "web")
    ],
    "instance:host_health:state": [
        (
            "ALERTS",
            {"alertname": "BackupFailed", "alertstate": "firing", "severity": "critical", "host": "good"},
            "1x2000",
        )
    ],
}
