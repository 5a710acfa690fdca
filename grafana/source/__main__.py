"""Write every dashboard to where Grafana's provisioning finds it."""

from fleet_config.output import json_text, write_files
from grafana.source import DASHBOARDS, FOLDER


def main() -> None:
    """Write what has changed and say so."""
    for file in write_files(FOLDER, {path: json_text(build()) for path, build in DASHBOARDS.items()}):
        print(f"{file.change:>9}  {file.path}")


if __name__ == "__main__":
    main()
