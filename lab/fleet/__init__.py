"""Real hosts with systemd and sshd, without Docker, in namespaces of one's own."""

from lab.fleet.base import Base, debian_base
from lab.fleet.fleet import Fleet, fleet_impossible
from lab.fleet.host import Host

__all__ = ["Base", "Fleet", "Host", "debian_base", "fleet_impossible"]
