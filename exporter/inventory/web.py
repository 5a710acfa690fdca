"""Virtual hosts, and the web applications below them with the PHP that serves each."""

from exporter.inventory.apache import apache_hosts
from exporter.inventory.application_data import data_of
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
    "/home/*/public_html/*",
    "/home/*/www",
    "/home/*/www/*",
    "/home/*/htdocs/*",  # CloudPanel
    "/home/*/web/*/public_html",  # Hestia
    "/home/*/domains/*/public_html",  # DirectAdmin
    "/home/*/webapps/*",  # RunCloud
    "/www/wwwroot/*",  # aaPanel
    "/opt/*",
    "/opt/*/*",
    "/snap/*/current/htdocs",
    "/var/lib/snapd/snap/*/current/htdocs",
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
EVERYWHERE = ("", "*", "0.0.0.0", "[::]", "localhost")  # noqa: S104 - read, not bound
LIBRARIES = ("/node_modules", "/vendor")
TITLE_LIMIT = 256 * 1024
MAXIMUM_FOLDERS = 20_000


def read(context: Context) -> Findings:
    findings = Findings()
    hosts: list[VirtualHost] = []
    for server, read_hosts in (("nginx", nginx_hosts), ("Apache", apache_hosts)):
        found, skipped = read_hosts(context.tree)
        hosts += found
        findings.skip(skipped, f"configuration of {server}: a file or line that is not understood")
    branches = branches_of_pools(context.tree)
    for host in hosts:
        add_host(findings, host, php_of(context.tree, host, branches), title_of(context.tree, host))
    add_applications(context.tree, findings, hosts, branches)
    add_forges(context, findings)
    return findings


def branches_of_pools(tree: Tree) -> dict[str, str]:
    """Address that a pool of PHP-FPM listens on -> PHP branch."""
    return {
        same_address(tree, settings.get("listen", "")): branch
        for branch, _, settings in all_pools(tree, Findings())
    }


def same_address(tree: Tree, address: str) -> str:
    """One form for what both sides may write differently: /var/run and /run; 9000 and 127.0.0.1:9000."""
    if address.startswith("/"):
        return tree.resolve(address)
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in EVERYWHERE else address


def php_of(tree: Tree, host: VirtualHost, branches: dict[str, str]) -> list[str]:
    """The PHP branches that serve a virtual host: by the pools behind its FastCGI addresses, or by module."""
    known = {branches.get(same_address(tree, address), "") for address in host.backends}
    return sorted({branch for branch in known | {host.php} if branch})


def title_of(tree: Tree, host: VirtualHost) -> str:
    """The title of the page that a visitor gets, if a file says so; empty if another program may answer."""
    others = ("index.php", ".htaccess")
    if (
        not host.static
        or not host.root.startswith("/")
        or any(tree.stat(f"{host.root}/{name}") for name in others)
    ):
        return ""
    try:
        page = tree.text(f"{host.root}/index.html", TITLE_LIMIT)
    except OSError:
        return ""
    return search(r"<(?:title|TITLE)>[ \t]*([^<>\n&]{1,100}?)[ \t]*</(?:title|TITLE)>", page)


def add_host(findings: Findings, host: VirtualHost, php: list[str], title: str) -> None:
    findings.add(
        "virtual_host",
        server=host.server,
        name=host.names[0] if host.names else "",
        aliases=sorted(set(host.names[1:]) - {host.names[0]}) if host.names else [],
        listen=host.listen,
        root=host.root,
        certificates=sorted(set(host.certificates)),
        php=php,
        backends=host.backends,
        file=host.file,
        redirect=host.redirect,
        title=title,
    )


def served(host: VirtualHost) -> list[str]:
    """The folders that a virtual host serves: its root and what stands elsewhere."""
    return [path.rstrip("/") for path in [host.root, *host.folders] if path.startswith("/")]


def folders(tree: Tree, hosts: list[VirtualHost]) -> list[str]:
    """Where an application may stand: what is served, its parent (for roots like public/), what is below.

    The second level below comes last: should there be more folders than we take, it is cut first.
    """
    found: dict[str, None] = {}
    deeper: dict[str, None] = {}
    for root in dict.fromkeys(path for host in hosts for path in served(host)):
        if root.count("/") > 1:
            found[root.rpartition("/")[0]] = None
        below = folders_in(tree, root)
        found |= dict.fromkeys([root, *below])
        deeper |= dict.fromkeys(path for folder in below for path in folders_in(tree, folder))
    for place in PLACES:
        found |= dict.fromkeys(tree.glob(place))
    return list(found | deeper)


def folders_in(tree: Tree, folder: str) -> list[str]:
    """The names in a folder, without hidden ones and libraries."""
    names = [] if folder.endswith(LIBRARIES) else tree.names(folder)
    return [f"{folder}/{name}" for name in names if not name.startswith(".")]


class HostsByFolder:
    """Virtual hosts by what they serve, so that a thousand of each need no million comparisons."""

    def __init__(self, tree: Tree, hosts: list[VirtualHost]) -> None:
        self._at: dict[str, list[VirtualHost]] = {}
        self._below: dict[str, list[VirtualHost]] = {}
        for host in hosts:
            for root in {tree.resolve(path) for path in served(host)} - {"/"}:
                self._at.setdefault(root, []).append(host)
                for folder in ancestors(root):
                    self._below.setdefault(folder, []).append(host)

    def of(self, folder: str) -> list[VirtualHost]:
        """Hosts that serve an application: it is at or below what they serve, or that is a part of it."""
        above = [host for place in (folder, *ancestors(folder)) for host in self._at.get(place, [])]
        return above + self._below.get(folder, [])


def ancestors(folder: str) -> list[str]:
    """The folders above one, but for the root itself."""
    parts = folder.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 1, -1)]


def add_applications(
    tree: Tree, findings: Findings, hosts: list[VirtualHost], branches: dict[str, str]
) -> None:
    candidates = folders(tree, hosts)
    findings.skip(
        len(candidates[MAXIMUM_FOLDERS:]), f"more than {MAXIMUM_FOLDERS} folders that may be applications"
    )
    unread = tree.closed.intersection(path for host in hosts for path in served(host))
    serving_hosts = HostsByFolder(tree, hosts)
    seen: dict[str, list[str]] = {}
    for folder in candidates[:MAXIMUM_FOLDERS]:
        for name, version, file in identify(tree, folder, unread):
            real = tree.resolve(folder)
            known = seen.setdefault(tree.resolve(file), [])
            serving = serving_hosts.of(real)
            if not is_another(real, known, is_served=bool(serving)):
                continue
            known.append(real)
            data = data_of(tree, name, folder)
            findings.add(
                "web_application",
                name=name,
                version=version,
                path=folder,
                php=sorted({branch for host in serving for branch in php_of(tree, host, branches)}),
                hosts=sorted({host.names[0] for host in serving if host.names}),
                databases=data.databases,
                data=data.folders,
            )
    findings.skip(len(unread), next(iter(sorted(unread)), "") + ": permission denied, or too large")


def is_another(folder: str, known: list[str], *, is_served: bool) -> bool:
    """Whether a folder is an installation of its own beside those that share its version file.

    Sites may share the code by links; a folder above or below, or one that no host serves, is the same one.
    """
    return not known or (
        is_served
        and not any(f"{folder}/".startswith(f"{one}/") or f"{one}/".startswith(f"{folder}/") for one in known)
    )


def add_forges(context: Context, findings: Findings) -> None:
    """Add Gitea and Forgejo: single programs, which tell their version when asked."""
    for name, program in FORGES.items():
        paths = (f"/usr/local/bin/{program}", f"/usr/bin/{program}", f"/opt/{program}/{program}")
        for path in filter(context.tree.is_file, paths):
            answer = ask(context, path, ["--version"])
            version = search(rf"(?i)\bversion:?\s+v?({VERSION})", answer)
            findings.add(
                "web_application",
                name=name,
                version=version,
                path=path,
                php=[],
                hosts=[],
                databases=None,
                data=[folder for folder in (f"/var/lib/{program}",) if context.tree.is_folder(folder)],
            )
