"""What the numbers mean, in words and colours; one place for all dashboards."""

from lab.dashboards.elements import CRITICAL, GOOD, UNKNOWN, WARNING, state_mapping

FLEET_UID, HOST_UID = "leitstand-fleet", "leitstand-host"

HOST_STATES = state_mapping(
    [(0, "good", GOOD), (1, "warning", WARNING), (2, "critical", CRITICAL), (3, "down", CRITICAL)]
)
SERVICE_STATES = state_mapping(
    [(1, "up", GOOD), (0.5, "partly", WARNING), (0, "down", CRITICAL), (-1, "unknown", UNKNOWN)]
)
SUCCESS = state_mapping([(1, "good", GOOD), (0, "failed", CRITICAL)])
NEVER = state_mapping([(-1, "never", WARNING)])
NEVER_IN_A_LIST = state_mapping([(-1, "never", UNKNOWN)])
NO_TLS = state_mapping([(-1, "no TLS", UNKNOWN)])

# Of a whole: when a look is due, when it is late.
SHARE = ((None, GOOD), (0.8, WARNING), (0.95, CRITICAL))
LOAD = ((None, GOOD), (1, WARNING), (2, CRITICAL))
BACKUP_AGE = ((None, GOOD), (129_600, WARNING), (262_800, CRITICAL))
CERTIFICATE = ((None, CRITICAL), (259_200, WARNING), (1_209_600, GOOD))
