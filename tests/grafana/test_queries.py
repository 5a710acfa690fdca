"""Every query of every dashboard, asked of a real Prometheus with our rules and our exporter."""

import re
from pathlib import Path

import pytest
import yaml

from grafana.source import DASHBOARDS
from grafana.source.queries import queries, variable_queries
from lab.patience import patient
from lab.processes import fetch, wait_until

ROOT = Path(__file__).parent.parent.parent
VARIABLES = {"job": "host", "instance": "web1", "datasource": "prometheus", "__rate_interval": "10s"}
QUERIES = [
    pytest.param(query, id=f"{Path(path).stem}-{index}-{query.panel}-{query.name}".replace(" ", "_"))
    for path, build in DASHBOARDS.items()
    for index, query in enumerate([*queries(build(), VARIABLES), *variable_queries(build(), VARIABLES)])
]
# Names that are not the exporter's and not recorded by a rule, and whose they are.
OF_OTHERS = {
    "ALERTS": "Prometheus itself",
    "ALERTS_FOR_STATE": "Prometheus itself",
    "up": "Prometheus itself",
    "scrape_duration_seconds": "Prometheus itself",
    "scrape_series_added": "Prometheus itself",
    "probe_success": "blackbox_exporter",
    "probe_duration_seconds": "blackbox_exporter",
    "probe_http_status_code": "blackbox_exporter",
    "probe_ssl_earliest_cert_expiry": "blackbox_exporter, for https only",
    "blackbox_exporter_config_last_reload_successful": "blackbox_exporter",
    "prometheus_config_last_reload_successful": "Prometheus itself",
    "prometheus_notifications_alertmanagers_discovered": "Prometheus itself",
    "prometheus_notifications_errors_total": "Prometheus itself",
    "prometheus_remote_storage_highest_timestamp_in_seconds": "Prometheus, not in this small fleet",
    "prometheus_remote_storage_queue_highest_sent_timestamp_seconds": ("Prometheus, not in this small fleet"),
    "prometheus_rule_evaluation_failures_total": "Prometheus itself",
    "prometheus_rule_group_iterations_missed_total": "Prometheus itself",
    "prometheus_sd_failed_configs": "Prometheus itself",
    "prometheus_sd_file_read_errors_total": "Prometheus itself",
    "prometheus_target_scrape_pool_exceeded_label_limits_total": "Prometheus itself",
    "prometheus_target_scrapes_exceeded_body_size_limit_total": "Prometheus itself",
    "prometheus_target_scrapes_exceeded_sample_limit_total": "Prometheus itself",
    "prometheus_target_scrapes_sample_duplicate_timestamp_total": "Prometheus itself",
    "prometheus_target_scrapes_sample_out_of_bounds_total": "Prometheus itself",
    "prometheus_target_scrapes_sample_out_of_order_total": "Prometheus itself",
    "alertmanager_cluster_members": "Alertmanager, which is not part of this small fleet",
    "alertmanager_config_hash": "Alertmanager, which is not part of this small fleet",
    "alertmanager_config_last_reload_successful": "Alertmanager, which is not part of this small fleet",
    "alertmanager_notifications_failed_total": "Alertmanager, which is not part of this small fleet",
    "expected:host": "`leitstand render`, for each host",
    "expected:backup": "`leitstand render`, for each job with a schedule",
    "service:maintenance": "`leitstand render`, while work on a service is announced",
    "expected:status_page": "`leitstand render`, for the status page",
}
# What not every machine has: arrays of disks, PHP, systemd, certificates in files, a web configuration,
# roll-outs, a look at what is covered, the scheduler of backups, a drill, a task that is off,
# node_exporter beside ours.
OF_SOME = {
    "leitstand_coverage_known",
    "leitstand_coverage_last_look_timestamp_seconds",
    "leitstand_deployment_running_since_timestamp_seconds",
    "leitstand_deployment_success",
    "leitstand_php_fpm_active_processes",
    "leitstand_timer_last_trigger_timestamp_seconds",
    "leitstand_php_end_of_life_timestamp_seconds",
    "leitstand_php_fpm_listen_queue",
    "leitstand_php_fpm_max_children",
    "leitstand_php_fpm_max_children_reached_total",
    "leitstand_php_version_info",
    "leitstand_php_fpm_up",
    "leitstand_timer_success",
    "leitstand_deployment_wanted_info",
    "leitstand_exporter_configuration_info",
    "leitstand_uncovered_items",
    "leitstand_exporter_web_config_valid",
    "leitstand_backup_config_good",
    "leitstand_backup_scheduler_timestamp_seconds",
    "leitstand_backup_drill_verdict",
    "leitstand_backup_off",
    "leitstand_scrape_collector_skipped_entries_total",
    "leitstand_scrape_collector_success",
    "node_md_disks",
    "node_md_disks_required",
    "node_systemd_service_restart_total",
    "node_systemd_unit_state",
    "leitstand_failed_units",
    "leitstand_certificate_expiry_timestamp_seconds",
}


# What this machine may lack: a PHP-FPM that runs, systemd and certificates in files.
OF_SOME_MACHINES = re.compile("leitstand_(php|timer|certificate)_")


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_has_data(query, small_fleet):
    expression = query.expression
    if OF_SOME_MACHINES.search(expression):
        expression = f"({expression}) or vector(1)"
    if "node_pressure" in query.expression and not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel does not measure pressure")

    def has_data():
        samples = small_fleet.ask(expression, instant=query.instant)
        values = [value for sample in samples for value in sample.get("values", [sample.get("value")])]
        return any(value != "NaN" for _, value in values)

    wait_until(has_data, query.expression, seconds=60)


@pytest.mark.parametrize("path", sorted(DASHBOARDS))
def test_every_column_of_a_table_comes_out_of_its_queries_and_no_other_column_does(path, small_fleet):
    tables = [panel for panel in DASHBOARDS[path]()["panels"] if panel["type"] == "table"]
    assert tables
    for panel in tables:
        if any(OF_SOME_MACHINES.search(target["expr"]) for target in panel["targets"]):
            continue
        options = panel["transformations"][1]["options"]
        columns = {source for source in options["renameByName"] if not source.startswith("Value")}

        def has_its_columns(panel=panel, options=options, columns=columns):
            labels = labels_of(small_fleet, panel)
            if "lerts" in panel["title"]:
                # What each alert is about differs.
                return {"alertname", "severity"} <= labels <= columns | {"instance"}
            return labels - options["excludeByName"].keys() == columns

        wait_until(has_its_columns, f"the columns {columns} of {panel['title']}")


def labels_of(small_fleet, panel):
    return {
        label
        for query in queries({"panels": [panel]}, VARIABLES)
        for sample in small_fleet.ask(query.expression, instant=True)
        for label in sample["metric"]
    }


def test_every_metric_that_rules_and_dashboards_use_is_there(small_fleet, selectors):
    wait_until(lambda: "leitstand_inventory_info" in page_of(small_fleet), "the whole inventory")
    exported = set(re.findall(r"^# TYPE (\S+)", page_of(small_fleet), re.MULTILINE))
    rules = [
        rule
        for path in (ROOT / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    expressions = [rule["expr"] for rule in rules] + [param.values[0].expression for param in QUERIES]
    used = {name for expression in expressions for name, _ in selectors(expression)}
    assert used - exported - recorded - OF_OTHERS.keys() - OF_SOME == set()
    assert recorded - used == {"service:vp_ok", "service:vp_fresh"} - used, "recorded, but used by nothing"
    assert OF_OTHERS.keys() <= used


def page_of(small_fleet):
    status, page = fetch(f"{small_fleet.exporter}/metrics", timeout=patient(60))
    assert status == 200
    return page


def test_the_metrics_of_others_are_theirs(small_fleet):
    absent = {
        name for name, whose in OF_OTHERS.items() if whose.endswith((", for https only", "small fleet"))
    }
    for name in OF_OTHERS.keys() - absent:
        wait_until(lambda name=name: small_fleet.ask(name, instant=True), name)
