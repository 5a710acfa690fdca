"""Virtual hosts, and the web applications below them with the PHP that serves each."""

from exporter.inventory.apache import apache_hosts
from exporter.inventory.applications import identify
from exporter.inventory.fpm import all_pools
from exporter.inventory.nginx import nginx_hosts
from exporter.inventory.programs import ask
from exporter.inventory.source import Context, Findings
from exporter.inventory.text import VERSION, search
from exporter.inventory.virtual_host import VirtualHost
from exporter.tree import Tree

# Where applications stand, whether or not a virtual host of this server leads there.
PLACES = (
    "/var/www/*",
    "/var/www/*/*",
    "/srv/*",
    "/srv/*/*",
    "/srv/www/*/*",
    "/home/*/public_html",
    "/home/*/www",
    "/opt/*",
    "/usr/share/wordpress",
    "/usr/share/phpmyadmin",
    "/usr/share/roundcube",
    "/var/lib/roundcube",
    "/usr/share/mediawiki",
    "/var/lib/mediawiki",
    "/usr/share/nextcloud",
    "/usr/share/matomo",
    "/usr/share/moodle",
    "/usr/share/webapps/*",
    "/opt/gitlab/embedded/service/gitlab-rails",
    "/usr/share/gitlab",
    "/home/git/gitlab",
)
FORGES = {"Gitea": "gitea", "Forgejo": "forgejo"}
MAXIMUM_FOLDERS = 20_000


def read(context: Context) -> Findings:
    """Every virtual host and every application."""
    findings = Findings()
    hosts: list[VirtualHost] = []
    for found, skipped in (nginx_hosts(context.tree), apache_hosts(context.tree)):
        hosts += found
        findings.skip(skipped)
    branches = {
        settings.get("listen", ""): branch for branch, _, settings in all_pools(context.tree, Findings())
    }
    for host in hosts:
        add_host(findings, host, branches)
    add_applications(context, findings, hosts, branches)
    add_forges(context, findings)
    return findings


def php_of(host: VirtualHost, branches: dict[str, str]) -> list[str]:
    """The PHP branches that serve a virtual host: by the pools behind its FastCGI addresses, or by module."""
    known = {branches.get(address) or branches.get(f"/var{address}") for address in host.backends}
    return sorted({branch for branch in known | {host.php} if branch})


def add_host(findings: Findings, host: VirtualHost, branches: dict[str, str]) -> None:
    """Add one virtual host."""
    findings.add(
        "virtual_host",
        server=host.server,
        name=host.names[0] if host.names else "",
        aliases=sorted(set(host.names[1:]) - {host.names[0]}) if host.names else [],
        listen=host.listen,
        root=host.root,
        certificates=sorted(set(host.certificates)),
        php=php_of(host, branches),
        backends=host.backends,
        file=host.file,
    )


def folders(tree: Tree, hosts: list[VirtualHost]) -> list[str]:
    """Where an application may stand: each root, its parent (for roots like public/), what is below it."""
    found: dict[str, None] = {}
    for root in dict.fromkeys(host.root.rstrip("/") for host in hosts if host.root.startswith("/")):
        if root.count("/") > 1:
            found[root.rpartition("/")[0]] = None
        found[root] = None
        found |= dict.fromkeys(f"{root}/{name}" for name in tree.names(root) if not name.startswith("."))
    for place in PLACES:
        found |= dict.fromkeys(tree.glob(place))
    return list(found)


class HostsByRoot:
    """Virtual hosts by where their roots are, so that a thousand of each need no million comparisons."""

    def __init__(self, tree: Tree, hosts: list[VirtualHost]) -> None:
        self._at: dict[str, list[VirtualHost]] = {}
        self._below: dict[str, list[VirtualHost]] = {}
        for host in hosts:
            root = tree.resolve(host.root) if host.root.startswith("/") else "/"
            if root == "/":
                continue
            self._at.setdefault(root, []).append(host)
            for folder in ancestors(root):
                self._below.setdefault(folder, []).append(host)

    def of(self, folder: str) -> list[VirtualHost]:
        """Hosts that serve an application: it is at or below their root, or their root is a part of it."""
        above = [host for place in (folder, *ancestors(folder)) for host in self._at.get(place, [])]
        return above + self._below.get(folder, [])


def ancestors(folder: str) -> list[str]:
    """The folders above one, but for the root itself."""
    parts = folder.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 1, -1)]


def add_applications(
    context: Context, findings: Findings, hosts: list[VirtualHost], branches: dict[str, str]
) -> None:
    """Add every application, each once by its real folder."""
    tree = context.tree
    candidates = folders(tree, hosts)
    findings.skip(len(candidates[MAXIMUM_FOLDERS:]))
    serving_hosts = HostsByRoot(tree, hosts)
    seen: set[tuple[str, str]] = set()
    for folder in candidates[:MAXIMUM_FOLDERS]:
        for name, version in identify(tree, folder):
            real = tree.resolve(folder)
            if (name, real) in seen:
                continue
            seen.add((name, real))
            serving = serving_hosts.of(real)
            findings.add(
                "web_application",
                name=name,
                version=version,
                path=folder,
                php=sorted({branch for host in serving for branch in php_of(host, branches)}),
                hosts=sorted({host.names[0] for host in serving if host.names}),
            )


def add_forges(context: Context, findings: Findings) -> None:
    """Add Gitea and Forgejo: single programs, which tell their version when asked."""
    for name, program in FORGES.items():
        paths = (f"/usr/local/bin/{program}", f"/usr/bin/{program}", f"/opt/{program}/{program}")
        for path in filter(context.tree.is_file, paths):
            answer = ask(context, path, ["--version"])
            version = search(rf"(?i)\bversion:?\s+v?({VERSION})", answer)
            findings.add("web_application", name=name, version=version, path=path, php=[], hosts=[])
