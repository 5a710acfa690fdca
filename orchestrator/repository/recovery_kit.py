"""The recovery kit: all that an admin needs to restore without Leitstand, on one sheet. Pure."""

from collections.abc import Sequence

from orchestrator.config.settings import BackupSettings
from orchestrator.config.stores import FolderSettings

_TEXT = """\
LEITSTAND RECOVERY KIT - keep it secret, and not on the machines that it is for
=======================================================================

1. The keys. With Leitstand: save the lines between the rules as a file of mode 0600 and set keys_file to it.

-----------------------------------------------------------------------
{keys}-----------------------------------------------------------------------

2. Where the snapshots are: <host>/<job>/<time>-<random>/ below

{places}
   Each has vol.zip (or vol.zip.001, .002, ...), manifest.zip, meta.json and COMMIT.
   Without COMMIT it is incomplete.

3. The password of one snapshot, without Leitstand. "generation" is in its meta.json:

   secret=...         # the long word in the line of that generation, above
   snapshot=...       # the name of the snapshot's folder
   key=$(printf '%s====' "$secret" | base32 -d | od -An -v -tx1 | tr -d ' \\n')
   printf 'leitstand archive password:%s' "$snapshot" |
     openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | head -c 20 | base32

4. Open it with 7-Zip: fetch all of the snapshot's objects into one folder, then

   7z x vol.zip       # or vol.zip.001; asks for the password; gives backup.zip
   7z x backup.zip    # the files; no password

{stamp}
"""


def recovery_kit(keys: str, settings: BackupSettings, jobs: Sequence[str]) -> str:
    """The kit's text. ``keys`` is the keys file."""
    names = sorted({store for job in jobs for store in settings.backups[job].stores})
    places = "".join(f"   {_place(settings, name)}\n" for name in names)
    stamp = "Jobs: " + ", ".join(f"{settings.backups[job].host}/{job}" for job in jobs)
    return _TEXT.format(keys=keys, places=places, stamp=stamp)


def _place(settings: BackupSettings, name: str) -> str:
    store = settings.stores[name]
    if isinstance(store, FolderSettings):
        return f"{name}: folder {store.path}"
    prefix = f", below {store.prefix}/" if store.prefix else ""
    return f"{name}: S3, {store.endpoint}, bucket {store.bucket}{prefix}"
