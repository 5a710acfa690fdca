"""The page at ``/``: what this is and where its metrics are. No scripts, no other hosts, light and dark."""

from collections.abc import Sequence

_STYLE = """
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5a6675;--paper:#f6f7f9;--card:#fff;--line:#dde2e8;
--mark:#0b6bcb}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa7b6;--paper:#12161c;--card:#1a2029;--line:#2c3541;
--mark:#6cb2ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:42rem;margin:0 auto;padding:3rem 1.25rem}
h1{margin:0;font-size:1.6rem;letter-spacing:-.01em}
p{margin:.25rem 0 2rem;color:var(--soft)}
ul{list-style:none;margin:0;padding:0;background:var(--card);border:1px solid var(--line);
border-radius:.75rem}
li+li{border-top:1px solid var(--line)}
a{display:block;padding:.9rem 1.1rem;color:inherit;text-decoration:none;border-radius:.75rem}
a:hover,a:focus-visible{outline:2px solid var(--mark);outline-offset:-2px}
b{color:var(--mark);font-family:ui-monospace,monospace;font-weight:600;overflow-wrap:anywhere}
span{display:block;color:var(--soft);font-size:.9rem}
"""

# The page needs only its own style.
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def landing_page(host: str, version: str, links: Sequence[tuple[str, str]]) -> bytes:
    """The page in HTML. ``links`` are paths and their descriptions."""
    from html import escape  # loads a table of every named character, which a scrape does not need

    items = "\n".join(
        f'<li><a href="{escape(path)}"><b>{escape(path)}</b><span>{escape(what)}</span></a></li>'
        for path, what in links
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leitstand exporter on {escape(host)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(host)}</h1>
<p>Leitstand exporter {escape(version)}</p>
<ul>
{items}
</ul>
</main>
</body>
</html>
""".encode()
