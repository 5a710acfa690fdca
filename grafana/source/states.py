"""What the numbers mean, in words and colours; one place for all dashboards."""

from grafana.source.elements import (
    CRITICAL,
    GOOD,
    INFO,
    NEUTRAL,
    UNKNOWN,
    WARNING,
    count_mapping,
    state_mapping,
)

FLEET_UID, HOST_UID = "leitstand-fleet", "leitstand-host"

HOST_STATES = state_mapping(
    [(0, "good", GOOD), (1, "warning", WARNING), (2, "critical", CRITICAL), (3, "down", CRITICAL)]
)
SERVICE_STATES = state_mapping(
    [(1, "up", GOOD), (0.5, "partly", WARNING), (0, "down", CRITICAL), (-1, "unknown", UNKNOWN)]
)
RUNS = state_mapping([(1, "yes", GOOD), (0, "no", CRITICAL)])
SUCCESS = state_mapping([(1, "good", GOOD), (0, "failed", CRITICAL)])
REBOOT = state_mapping([(-1, "unknown", UNKNOWN), (0, "no", GOOD), (1, "required", WARNING)])
NEVER = state_mapping([(-1, "never", WARNING)])
NEVER_IN_A_LIST = state_mapping([(-1, "never", UNKNOWN)])
UNTOLD = state_mapping([(-1, "unknown", UNKNOWN)])
UPDATES = [*UNTOLD, *count_mapping(WARNING)]
NO_TLS = state_mapping([(-1, "no TLS", UNKNOWN)])

SEVERITIES = [
    {
        "options": {
            name: {"color": color, "index": index}
            for index, (name, color) in enumerate(
                {"critical": CRITICAL, "warning": WARNING, "info": INFO, "none": UNKNOWN}.items()
            )
        },
        "type": "value",
    }
]
# Of a whole: when a look is due, when it is late.
SHARE = ((None, GOOD), (0.8, WARNING), (0.95, CRITICAL))
LOAD = ((None, GOOD), (1, WARNING), (2, CRITICAL))
PAGE_AGE = ((None, GOOD), (60, WARNING), (180, CRITICAL))
BACKUP_AGE = ((None, GOOD), (129_600, WARNING), (262_800, CRITICAL))
END_OF_LIFE = ((None, CRITICAL), (0, WARNING), (15_552_000, GOOD))  # half a year
CERTIFICATE = ((None, CRITICAL), (259_200, WARNING), (1_209_600, GOOD))
# Negative: it was due and has not started.
NEXT = ((None, WARNING), (0, NEUTRAL))
