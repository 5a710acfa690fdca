"""Addresses, default routes and name servers."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.inventory.source import Context, Findings, Metric
from exporter.netlink import Address, dump_addresses, parse_addresses
from exporter.tree import Tree

MAXIMUM_SERIES = 2_000
RESOLVED_STUB = "127.0.0.53"  # systemd-resolved.service(8)
RTF_UP, RTF_GATEWAY, RTF_REJECT = 0x1, 0x2, 0x200


@dataclass(frozen=True)
class Route:
    """A default route; ``gateway`` is empty when packets go straight to the link."""

    family: str
    gateway: str
    interface: str
    metric: int


def read(context: Context) -> Findings:
    """Every address, default route and name server. Temporary IPv6 addresses are in the figures only."""
    findings = Findings()
    add_addresses(findings, parse_addresses(dump_addresses()), dict(socket.if_nameindex()))
    proc = context.roots.proc / "net"
    for path, parse in (("route", parse_routes), ("ipv6_route", parse_routes6)):
        with contextlib.suppress(FileNotFoundError):  # no IPv6 in this kernel
            for route in sorted(parse((proc / path).read_text(), findings), key=str):
                findings.add("default_route", **vars(route))
    for server in name_servers(context.tree):
        findings.add("dns_server", address=server)
    return findings


def name_servers(tree: Tree) -> list[str]:
    """The servers this host asks; those behind systemd-resolved, where that stands between."""
    servers = parse_resolvers(tree.text_or_empty("/etc/resolv.conf"))
    if servers == [RESOLVED_STUB]:
        return parse_resolvers(tree.text_or_empty("/run/systemd/resolve/resolv.conf")) or servers
    return servers


def add_addresses(findings: Findings, addresses: list[Address], interfaces: dict[int, str]) -> None:
    """Add the addresses as items and, up to a cap, as figures."""
    family = Metric(
        "leitstand_address_info",
        "gauge",
        "An address of this host.",
        ("interface", "family", "address", "prefix", "scope"),
    )
    for entry in sorted(addresses, key=lambda entry: (entry.index, entry.family, entry.address)):
        interface = interfaces.get(entry.index, str(entry.index))
        if not entry.temporary:
            findings.add(
                "address",
                interface=interface,
                family=entry.family,
                address=entry.address,
                prefix=entry.prefix,
                scope=entry.scope,
            )
        if len(family.rows) < MAXIMUM_SERIES:
            family.add(1, interface, entry.family, entry.address, str(entry.prefix), entry.scope)
        else:
            findings.skip(reason=f"more than {MAXIMUM_SERIES} addresses")
    findings.metrics.append(family)


@contextlib.contextmanager
def skipping(findings: Findings | None, reason: str) -> Iterator[None]:
    """Count what cannot be read in the block."""
    try:
        yield
    except (ValueError, IndexError):
        if findings:
            findings.skip(reason=reason)


def parse_routes(text: str, findings: Findings | None = None) -> Iterator[Route]:
    """Default routes of /proc/net/route: hexadecimal in host byte order (net/ipv4/fib_trie.c)."""
    for fields in map(str.split, text.splitlines()[1:]):
        with skipping(findings, "/proc/net/route: a line that is no route"):
            destination, mask, flags = int(fields[1], 16), int(fields[7], 16), int(fields[3], 16)
            if destination == mask == 0 and flags & RTF_UP and not flags & RTF_REJECT:
                gateway = socket.inet_ntoa(bytes.fromhex(fields[2])[::-1]) if flags & RTF_GATEWAY else ""
                yield Route("inet", gateway, fields[0], int(fields[6]))


def parse_routes6(text: str, findings: Findings | None = None) -> Iterator[Route]:
    """Default routes of /proc/net/ipv6_route (net/ipv6/route.c); the reject route on lo is none."""
    for fields in map(str.split, text.splitlines()):
        with skipping(findings, "/proc/net/ipv6_route: a line that is no route"):
            flags, next_hop = int(fields[8], 16), ipaddress.IPv6Address(bytes.fromhex(fields[4]))
            is_default = int(fields[0], 16) == 0 and int(fields[1], 16) == 0
            if is_default and flags & RTF_UP and not flags & RTF_REJECT and fields[9] != "lo":
                gateway = str(next_hop) if flags & RTF_GATEWAY else ""
                yield Route("inet6", gateway, fields[9], int(fields[5], 16))


def parse_resolvers(text: str) -> list[str]:
    """Addresses of the ``nameserver`` lines, resolv.conf(5), in order, each once."""
    lines = [line.split() for line in text.splitlines()]
    return list(dict.fromkeys([words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]))
