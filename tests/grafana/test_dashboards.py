"""The dashboards as files: generated, complete, readable, linked."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from fleet_config.output import json_text
from grafana.source import DASHBOARDS, FOLDER
from grafana.source.queries import BUILT_IN, panels, queries, substitute, variable_queries

ROOM = Path(__file__).parent.parent.parent / "grafana"
VARIABLES = {"job": "host", "instance": "web1", "datasource": "prometheus"}
CORE = {"stat", "timeseries", "table", "state-timeline", "row"}
UIDS = {"Leitstand/fleet-overview.json": "leitstand-fleet", "Leitstand/host-detail.json": "leitstand-host"}
UNITS = {"none", "s", "percentunit", "bytes", "Bps", "pps"}
# What is not about one host: services, backups, alerts of the whole fleet.
FLEET_WIDE = (
    "service:",
    "probe_",
    "leitstand_backup_",
    "leitstand_status_page_",
    "ALERTS",
    "up",
    "instance:leitstand_backup",
)

each_dashboard = pytest.mark.parametrize("path", sorted(UIDS))
each_panel = pytest.mark.parametrize(
    ("path", "panel"),
    [
        pytest.param(path, panel, id=f"{Path(path).stem}-{panel['id']}-{panel['title']}".replace(" ", "_"))
        for path in sorted(UIDS)
        for panel in panels(json.loads((FOLDER / path).read_text()))
        if panel["type"] != "row"
    ],
)


def load(path):
    return json.loads((FOLDER / path).read_text())


@each_dashboard
def test_the_committed_file_is_what_the_builder_makes(path):
    assert (FOLDER / path).read_text() == json_text(DASHBOARDS[path]()), "run docs/reference/generate.py"


def test_every_dashboard_has_a_source():
    files = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file()}
    assert files == set(DASHBOARDS) == set(UIDS)


@each_dashboard
def test_a_dashboard_keeps_its_address_and_cannot_be_edited_in_grafana(path):
    dashboard = load(path)
    assert dashboard["uid"] == UIDS[path]
    assert dashboard["id"] is None
    assert dashboard["editable"] is False
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert dashboard["title"]
    assert dashboard["description"]


@each_dashboard
def test_ids_are_unique_and_panels_fill_the_grid_without_overlap(path):
    found = list(panels(load(path)))
    assert len({panel["id"] for panel in found}) == len(found)
    taken = {}
    for panel in found:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} covers {taken.get((x, y))}"
                taken[x, y] = panel["title"]
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


@each_dashboard
def test_panels_are_of_grafanas_core(path):
    assert {panel["type"] for panel in panels(load(path))} <= CORE


@each_dashboard
def test_data_source_job_and_host_can_be_chosen(path):
    variables = {variable["name"]: variable for variable in load(path)["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("job", "instance"):
        assert variables[name]["refresh"] == 2, "hosts come and go while a dashboard is open"
        assert variables[name]["datasource"]["uid"] == "${datasource}"
    for query in variable_queries(load(path), VARIABLES):
        promql_parser.parse(query.expression)


@each_panel
def test_a_panel_explains_itself_and_has_a_unit(path, panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["noValue"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    units = [panel["fieldConfig"]["defaults"]["unit"]]
    for override in panel["fieldConfig"]["overrides"]:
        units += [each["value"] for each in override["properties"] if each["id"] == "unit"]
    assert set(units) <= UNITS


def unreadable(panel):
    """What Grafana's front end would make of a panel, which no file shows: see grafana/README.md."""
    defaults = panel["fieldConfig"]["defaults"]
    merged = panel["type"] == "state-timeline" and panel["options"]["mergeValues"]
    if merged and defaults["color"]["mode"] == "thresholds":
        return "states are merged by thresholds, so all have one colour"
    if panel["type"] == "table" and len(defaults["noValue"]) > 3:
        return "each empty cell shows a sentence"
    return None


@each_panel
def test_a_panel_can_be_read_in_grafanas_front_end(path, panel):
    assert unreadable(panel) is None


def test_a_panel_that_cannot_be_read_is_noticed():
    states = {"type": "state-timeline", "options": {"mergeValues": True}}
    grey = states | {"fieldConfig": {"defaults": {"color": {"mode": "thresholds"}, "noValue": "-"}}}
    wordy = {"type": "table", "fieldConfig": {"defaults": {"noValue": "no host is configured"}}}
    assert unreadable(grey) and unreadable(wordy)


@each_panel
def test_queries_are_promql_with_distinct_names(path, panel):
    names = [target["refId"] for target in panel["targets"]]
    assert len(set(names)) == len(names) >= 1
    for target in panel["targets"]:
        promql_parser.parse(substitute(target["expr"], {**BUILT_IN, **VARIABLES}))
        assert target["datasource"]["uid"] == "${datasource}"
        assert target["instant"] is not target["range"]


@each_panel
def test_rates_follow_the_zoom(path, panel):
    for target in panel["targets"]:
        for window in re.findall(r"rate\([^\[]+\[([^\]]+)\]", target["expr"]):
            assert window == "$__rate_interval"


@each_panel
def test_panels_about_hosts_show_the_selected_ones(path, panel, selectors):
    for target in panel["targets"]:
        expression = substitute(target["expr"], {**BUILT_IN, "job": "$job", "instance": "$instance"})
        for name, matchers in selectors(expression):
            if name.startswith(FLEET_WIDE) and not name.startswith("instance:node"):
                continue
            assert matchers.get("job") == "$job", f"{name} in {panel['title']}"
            assert matchers.get("instance") == "$instance", f"{name} in {panel['title']}"


@each_panel
def test_a_column_that_is_formatted_or_sorted_by_is_there(path, panel):
    if panel["type"] != "table":
        return
    (organize,) = [step["options"] for step in panel["transformations"] if step["id"] == "organize"]
    titles = set(organize["renameByName"].values())
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} == titles
    assert {step["displayName"] for step in panel["options"]["sortBy"]} <= titles
    shown = set(organize["renameByName"])
    assert set(organize["indexByName"]) == shown
    assert not shown & set(organize["excludeByName"])


@each_dashboard
def test_links_lead_to_dashboards_that_are_there_and_keep_the_time(path):
    dashboard = load(path)
    text = json.dumps(dashboard)
    found = re.findall(r'"/d/([\w-]+)[^"]*"', text)
    assert found
    assert set(found) <= set(UIDS.values()) - {dashboard["uid"]}
    assert all(link["keepTime"] for link in dashboard["links"])
    for link in re.findall(r'"url": "(/d/leitstand-host[^"]*)"', text):
        assert "var-instance=${__value.raw}" in link
        assert "${__url_time_range}" in link


def test_states_have_the_same_words_and_colours_everywhere():
    found = {}
    for path in UIDS:
        for panel in panels(load(path)):
            if "host_health" in json.dumps(panel.get("targets", [])) and panel["type"] != "table":
                for mapping in panel["fieldConfig"]["defaults"]["mappings"]:
                    if mapping["type"] == "value" and "3" in mapping["options"]:
                        found[panel["title"]] = json.dumps(mapping, sort_keys=True)
    assert len(found) >= 3
    assert len(set(found.values())) == 1


def test_a_variable_that_is_never_set_is_noticed():
    dashboard = load("Leitstand/host-detail.json")
    with pytest.raises(KeyError, match="job"):
        list(queries(dashboard, {"instance": "web1"}))


def test_provisioning_names_the_data_source_and_takes_addresses_from_the_environment():
    (source,) = yaml.safe_load((ROOM / "provisioning/datasources/leitstand.yml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == ("prometheus", "prometheus")
    assert source["url"] == "$LEITSTAND_PROMETHEUS_URL"
    (provider,) = yaml.safe_load((ROOM / "provisioning/dashboards/leitstand.yml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["options"] == {"path": "$LEITSTAND_DASHBOARDS", "foldersFromFilesStructure": True}
