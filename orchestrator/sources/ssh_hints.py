"""Hints for errors of ssh, by their text (from OpenSSH, and from the script of `authorize`)."""

import re
from collections.abc import Mapping

# Its words, the most specific first; the hint, with the facts of the host.
_HINTS: Mapping[str, str] = {
    r"this key may not run that here": "its sources or hooks have changed: "
    "run leitstand backup authorize {name} again",
    r"[Ii]dentity file .* not accessible": "there is no key {identity}: "
    "ssh-keygen -t ed25519 -N '' -f {identity}; then: leitstand backup authorize {name}",
    r"UNPROTECTED PRIVATE KEY|bad permissions": "chmod 600 {identity}",
    r"Load key ": "{identity} must be a private key without a passphrase, as a timer cannot enter one",
    r"HOST IDENTIFICATION HAS CHANGED": "its host key has changed: was it reinstalled, or is it another "
    "machine? leitstand backup authorize {name} says how to compare and fetch it",
    r"Host key verification failed|host key is known": "its host key is not known here: "
    "leitstand backup authorize {name} says how to fetch and compare it",
    r"Permission denied \(|Too many authentication failures": "it does not accept this key for {user}: "
    "leitstand backup authorize {name} prints the line for its authorized_keys",
    r"Could not resolve hostname": "is hosts.{name}.address right? It is {address}",
    r"Connection refused": "is sshd running there, on port {port}? Set another port as hosts.{name}.ssh.port",
    r"timed out|No route to host|Network is unreachable|Timeout, server": "is {address} up, and port {port} "
    "open from here?",
    r"Unable to negotiate|no matching ": "its sshd is too old, or restricted, for this machine's ssh",
    r"Connection (closed|reset)|kex_exchange_identification|Broken pipe": "its sshd ended the connection: on "
    "{name} 'journalctl -u ssh' says why",
}
SSH_FAILED = 255  # ssh(1): its own errors
FORBIDDEN = 126  # of the script that `authorize` prints
MISSING = 127


def ssh_hint(status: int, stderr: str, facts: Mapping[str, object]) -> str:
    """The hint for a program that failed over ssh; empty if ssh is not the reason."""
    if status == MISSING:
        return "is the program installed on {name}?".format_map(facts)
    if status not in (SSH_FAILED, FORBIDDEN):
        return ""
    for words, hint in _HINTS.items():
        if re.search(words, stderr):
            return hint.format_map(facts)
    if status == FORBIDDEN:
        return ""
    return "try: ssh to {name} as the user who runs the backup".format_map(facts)
