"""Owner and mode of a job's files other than its keys and credentials, checked as sshd checks its own."""

from collections.abc import Iterator
from pathlib import Path

from leitstand.settings.hosts import Host
from leitstand.trust import Distrust, distrust, exposed
from orchestrator.config.settings import Job, MysqlSettings, PostgresqlSettings


def faulty_files(job: Job, host: Host) -> Iterator[Distrust]:
    """A finding for each file that others could read or change; missing files are reported elsewhere."""
    for path, is_secret in _files(job, host):
        found = exposed(path) if is_secret else distrust(path)
        if found is not None:
            yield found


def _files(job: Job, host: Host) -> Iterator[tuple[Path, bool]]:
    """Files of this machine, and whether they are secrets; a host over SSH reads its own files there."""
    if host.ssh is not None:
        named = [(host.ssh.identity_file, True), (host.ssh.known_hosts_file, False)]
    else:
        named = [each for source in job.sources for each in _of_source(source)]
    yield from ((path, is_secret) for path, is_secret in named if path is not None)


def _of_source(source: object) -> list[tuple[Path | None, bool]]:
    match source:
        case MysqlSettings():
            return [(source.defaults_file, True)]
        case PostgresqlSettings():
            return [(source.password_file, True), (source.service_file, False)]
    return []
