"""Where distributions, hosting panels and people who build PHP themselves put it."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from exporter.inventory.text import search
from exporter.tree import Tree

BINARY_LIMIT = 128 * 1024 * 1024
_POWERED_BY = re.compile(rb"X-Powered-By: PHP/([0-9A-Za-z.+~_-]{3,64})")


@dataclass(frozen=True)
class Layout:
    """One way to install PHP. All places may be patterns, and are below ``prefix`` unless absolute.

    ``prefix`` is PHP's own (``--prefix``), where PHP-FPM's relative paths begin. ``programs`` are SAPI ->
    program or module. Of the ``ini`` files and the ``folders`` of further ones, the first that exists counts;
    in them ``{branch}`` stands for 8.2, ``{number}`` for 82, ``{major}`` for 8, ``{sapi}`` for the SAPI,
    which is apache2 for ``apache``. ``pools`` is PHP-FPM's main file.
    """

    prefix: str
    programs: dict[str, str]
    ini: tuple[str, ...]
    folders: tuple[str, ...]
    pools: str


@dataclass(frozen=True)
class Place:
    layout: Layout
    prefix: str

    def path(self, name: str) -> str:
        """A place of the layout as an absolute path or pattern."""
        return posixpath.normpath(posixpath.join(self.prefix, name))

    def variables(self) -> Mapping[str, str]:
        """The known part of the environment of a PHP that runs here: snapd says where a snap is."""
        snap = search(r"/snap/([^/]+)/current$", self.prefix)
        return {"SNAP": self.prefix, "SNAP_DATA": f"/var/snap/{snap}/current"} if snap else {}


@dataclass(frozen=True)
class PoolFile:
    """A main file of PHP-FPM; ``branch`` is empty where only its ``program`` tells it."""

    path: str
    branch: str
    program: str
    place: Place = field(repr=False)


# Everything in one folder: hosting panels, LiteSpeed, and who configures PHP with a prefix of its own.
OWN_PROGRAMS = {"cli": "bin/php", "fpm": "sbin/php-fpm*", "cgi": "bin/php-cgi", "litespeed": "bin/lsphp"}
OWN_INI = ("etc/php.ini", "lib/php.ini", "etc/php/{branch}/litespeed/php.ini", "php.ini")
OWN_FOLDERS = (
    "etc/php.d",
    "etc/conf.d",
    "lib/php.conf.d",
    "lib/conf.d",
    "conf.d",
    "etc/php/{branch}/mods-available",
)
OWN_PREFIXES = (
    "/opt/php*",  # ISPConfig
    "/opt/*/php",  # Bitnami
    "/opt/*/php/*",  # Plesk
    "/opt/*/php*",  # ServerPilot
    "/opt/lampp",  # XAMPP
    "/usr/local/php*",  # DirectAdmin
    "/usr/local/lsws/lsphp*",  # LiteSpeed
    "/www/server/php/*",  # aaPanel
)

LAYOUTS = (
    # Debian and Ubuntu
    Layout(
        "/usr",
        {
            "cli": "bin/php[0-9].[0-9]*",
            "fpm": "sbin/php-fpm[0-9].[0-9]*",
            "apache": "lib/apache2/modules/libphp[0-9]*.so",
            "cgi": "bin/php-cgi[0-9].[0-9]*",
        },
        ("/etc/php/{branch}/{sapi}/php.ini",),
        ("/etc/php/{branch}/{sapi}/conf.d",),
        "/etc/php/*/fpm/php-fpm.conf",
    ),
    # Alpine
    Layout(
        "/usr",
        {
            "cli": "bin/php[0-9][0-9]",
            "fpm": "sbin/php-fpm[0-9][0-9]",
            "apache": "lib/apache2/mod_php[0-9][0-9].so",
            "cgi": "bin/php-cgi[0-9][0-9]",
            "litespeed": "bin/lsphp[0-9][0-9]",
        },
        ("/etc/php{number}/php.ini",),
        ("/etc/php{number}/conf.d",),
        "/etc/php[0-9][0-9]/php-fpm.conf",
    ),
    # openSUSE
    Layout(
        "/usr",
        {
            "cli": "bin/php[5-9]",
            "fpm": "sbin/php-fpm",
            "apache": "lib*/apache2/mod_php[5-9].so",
            "cgi": "bin/php-cgi",
        },
        ("/etc/php{major}/{sapi}/php.ini", "/etc/php{major}/fastcgi/php.ini"),
        ("/etc/php{major}/conf.d",),
        "/etc/php[5-9]/fpm/php-fpm.conf",
    ),
    # Red Hat
    Layout(
        "/usr",
        {
            "cli": "bin/php",
            "fpm": "sbin/php-fpm",
            "apache": "lib*/httpd/modules/libphp*.so",
            "cgi": "bin/php-cgi",
            "litespeed": "bin/lsphp",
        },
        ("/etc/php.ini",),
        ("/etc/php.d",),
        "/etc/php-fpm.conf",
    ),
    # Arch, whose second PHP is php-legacy
    *(
        Layout(
            "/usr",
            {
                "cli": f"bin/php{kind}",
                "fpm": f"bin/php-fpm{kind}",
                "apache": f"lib/httpd/modules/libphp{kind}.so",
                "cgi": f"bin/php-cgi{kind}",
            },
            (f"/etc/php{kind}/php.ini",),
            (f"/etc/php{kind}/conf.d",),
            f"/etc/php{kind}/php-fpm.conf",
        )
        for kind in ("", "-legacy")
    ),
    # Gentoo
    Layout(
        "/usr/lib64/php*",
        {"cli": "bin/php", "fpm": "bin/php-fpm", "apache": "apache2/libphp*.so", "cgi": "bin/php-cgi"},
        ("/etc/php/{sapi}-php{branch}/php.ini",),
        ("/etc/php/{sapi}-php{branch}/ext-active",),
        "/etc/php/fpm-php*/php-fpm.conf",
    ),
    # PHP's own installation, and its container images
    Layout(
        "/usr/local",
        {
            "cli": "bin/php",
            "fpm": "sbin/php-fpm",
            "apache": "/usr/lib/apache2/modules/libphp.so",
            "cgi": "bin/php-cgi",
            "litespeed": "bin/lsphp",
        },
        ("etc/php/php.ini", "lib/php.ini", "etc/php.ini"),
        ("etc/php/conf.d", "etc/php.d"),
        "etc/php-fpm.conf",
    ),
    # Software collections: Remi's and Red Hat's side by side packages
    *(
        Layout(
            f"/opt/{vendor}/{name}*/root/usr",
            {**OWN_PROGRAMS, "apache": "lib*/httpd/modules/libphp*.so"},
            (f"/etc/opt/{vendor}/{name}{{number}}/php.ini",),
            (f"/etc/opt/{vendor}/{name}{{number}}/php.d",),
            f"/etc/opt/{vendor}/{name}*/php-fpm.conf",
        )
        for vendor, name in (("remi", "php"), ("rh", "rh-php"))
    ),
    # cPanel, CloudLinux
    *(
        Layout(prefix, OWN_PROGRAMS, ("../etc/php.ini",), folders, "../etc/php-fpm.conf")
        for prefix, folders in (
            ("/opt/cpanel/ea-php*/root/usr", ("../etc/php.d",)),
            ("/opt/alt/php*/usr", ("../link/conf", "../etc/php.d")),
        )
    ),
    *(Layout(prefix, OWN_PROGRAMS, OWN_INI, OWN_FOLDERS, "etc/php-fpm.conf") for prefix in OWN_PREFIXES),
    # Snaps; the second is Red Hat's place of them
    *(
        Layout(
            f"{place}/*/current",
            {"cli": "bin/php", "fpm": "sbin/php-fpm", "cgi": "bin/php-cgi"},
            ("config/php/php.ini", "etc/php.ini", "lib/php.ini"),
            ("config/php/conf.d", "etc/conf.d"),
            "config/php/php-fpm.conf",
        )
        for place in ("/snap", "/var/lib/snapd/snap")
    ),
)


def places(tree: Tree, layout: Layout) -> Iterator[Place]:
    yield from (Place(layout, prefix) for prefix in tree.glob(layout.prefix))


def pool_files(tree: Tree) -> Iterator[PoolFile]:
    seen: set[str] = set()
    for layout in LAYOUTS:
        for path, prefix in pool_paths(tree, layout):
            if tree.resolve(path) not in seen:
                seen.add(tree.resolve(path))
                place = Place(layout, prefix)
                programs = tree.glob(place.path(layout.programs.get("fpm", "")))
                yield PoolFile(path, branch_of(path), next(programs, ""), place)


def pool_paths(tree: Tree, layout: Layout) -> Iterator[tuple[str, str]]:
    """(file, prefix) of each main file of PHP-FPM in one layout."""
    if not layout.pools.startswith("/"):
        for place in places(tree, layout):
            path = place.path(layout.pools)
            if tree.is_file(path):
                yield path, place.prefix
        return
    # What the pattern of the file leaves open, that of the prefix does likewise.
    shape = re.compile(re.escape(layout.pools).replace(r"\*", "([^/]*)") if "*" in layout.prefix else "(?!)")
    for path in tree.glob(layout.pools):
        found = shape.fullmatch(path)
        yield path, layout.prefix.replace("*", found[1]) if found else layout.prefix


def branch_of(path: str) -> str:
    """The PHP branch a path names: /etc/php/8.2/…, /etc/php82/…, php8.2-fpm.service; empty if none."""
    dotted = search(r"php-?(?:fpm)?/?(\d\.\d+)", path)
    digits = search(r"php-?(?:fpm)?/?(\d\d)(?!\d)", path)
    return dotted or (f"{digits[0]}.{digits[1:]}" if digits else "")


def branch_of_version(version: str) -> str:
    """8.2 of 8.2.29."""
    return ".".join(version.split(".")[:2])


def parse_version(binary: bytes) -> str:
    """The version a PHP program or module carries in its text; empty if it is none."""
    found = _POWERED_BY.search(binary)
    return found[1].decode() if found else ""
