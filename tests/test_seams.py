"""Where two programs meet in data: what one writes by default, the other reads by default."""

from exporter.collectors.options import DEFAULT_TEXTFILE_FOLDERS
from leitstand.settings.fleet import Fleet
from leitstand.settings.hosts import EXPORTER_PORT
from status_page.config import StatusPage
from status_page.plan import make_plan


def test_the_exporter_publishes_the_metrics_of_jobs_without_an_option() -> None:
    assert str(Fleet().paths.metrics) in DEFAULT_TEXTFILE_FOLDERS
    assert str(make_plan(Fleet(), StatusPage()).metrics) in DEFAULT_TEXTFILE_FOLDERS


def test_prometheus_is_sent_to_the_port_on_which_the_exporter_listens() -> None:
    from exporter.cli import exporter

    default = next(parameter for parameter in exporter.params if parameter.name == "listen").default
    assert str(EXPORTER_PORT) in str(default)
