"""The processes that bench/backup.py and bench/backup_run.py measure: seal, verify, one-file,
growth, stock, boto3, uploads, counted.
"""

import hashlib
import io
import json
import mmap
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BLOCK = 1 << 20


def blocks_of(path: bytes) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while block := os.read(descriptor, BLOCK):
            yield block
    finally:
        os.close(descriptor)


def entries_of(root: bytes):
    from orchestrator.archive import Entry, Kind, Metadata

    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = folder + b"/" + name
            state = os.lstat(path)
            kind = Kind.DIRECTORY if stat.S_ISDIR(state.st_mode) else Kind.FILE
            metadata = Metadata(
                path=path[len(root) + 1 :],
                kind=kind,
                mode=stat.S_IMODE(state.st_mode),
                uid=state.st_uid,
                gid=state.st_gid,
                mtime_ns=state.st_mtime_ns,
                ctime_ns=state.st_ctime_ns,
                inode=state.st_ino,
            )
            yield Entry(metadata, state.st_size, lambda path=path: blocks_of(path))


def seal(tree: str, out: str, password: str) -> None:
    """The archive as volumes with both hashes, and the manifest: everything that a run writes to a folder."""
    from orchestrator.archive import VolumeSink
    from orchestrator.archive.writer import SealedWriter
    from orchestrator.repository.manifest import ManifestHeader, ManifestWriter, VolumeInfo

    volumes = []

    def deliver(volume) -> None:
        Path(out, f"vol.zip.{volume.index:03}").write_bytes(volume.data)
        volumes.append(VolumeInfo(volume.index, volume.size, volume.sha256, volume.md5))

    with Path(out, "manifest.zip").open("wb") as file:
        manifest = ManifestWriter(
            file, password, ManifestHeader("snapshot", "host", "job", "now", ("snapshot",))
        )
        with (
            VolumeSink(deliver) as sink,
            SealedWriter(sink.write, password, on_record=manifest.add, on_problem=print) as writer,
        ):
            for entry in entries_of(os.fsencode(tree)):
                writer.add(entry)
            writer.close()
            sink.close()
        manifest.close(tuple(volumes))


def opened(out: str, password: str):
    from orchestrator.archive import joined
    from orchestrator.archive.reader import SealedReader
    from orchestrator.repository.manifest import ManifestReader

    files = [path.open("rb") for path in sorted(Path(out).glob("vol.zip.*"))]
    sizes = [os.fstat(file.fileno()).st_size for file in files]
    read_bytes = [0]

    def read_volume(index: int, start: int, length: int) -> bytes:
        read_bytes[0] += length
        return os.pread(files[index - 1].fileno(), length, start)

    manifest = ManifestReader(io.BytesIO(Path(out, "manifest.zip").read_bytes()), password)
    return SealedReader(joined(read_volume, sizes), sum(sizes), password), manifest, read_bytes


def verify(_tree: str, out: str, password: str) -> None:
    reader, manifest, _ = opened(out, password)
    problems = reader.verify(row.record for row in manifest.rows())
    if problems:
        raise SystemExit(f"not proven: {problems[:3]}")


def one_file(_tree: str, out: str, password: str) -> None:
    reader, manifest, read_bytes = opened(out, password)
    record = max(
        (row.record for row in manifest.rows() if row.record.size < 100_000), key=lambda each: each.offset
    )
    reader.copy(record, lambda _block: None)
    print(
        f"one file of {record.size:,} bytes ({record.length:,} stored): {read_bytes[0]:,} bytes read, and the"
    )
    print(f"manifest of {Path(out, 'manifest.zip').stat().st_size:,} bytes")


def growth(files: str, size: str, password: str) -> None:
    from orchestrator.archive import Entry, Metadata, VolumeSink
    from orchestrator.archive.writer import SealedWriter
    from orchestrator.repository.manifest import ManifestHeader, ManifestWriter

    # Half text, half noise, as a mixed tree is; the same block again, as making bytes would cost more than
    # saving them.
    block = (b"<?php return 'text of some kind'; \n" * 15000)[: BLOCK // 2] + os.urandom(BLOCK // 2)
    count, length = int(files), int(size)

    def blocks(number: int) -> Iterator[bytes]:
        start = BLOCK // 2 - length // 2 - number % 99 if length < BLOCK // 4 else 0
        for done in range(0, length, BLOCK):
            yield block[start : start + min(length - done, BLOCK)]

    with Path(os.devnull).open("wb") as nowhere:
        manifest = ManifestWriter(
            nowhere, password, ManifestHeader("snapshot", "host", "job", "now", ("snapshot",))
        )
        with (
            VolumeSink(lambda volume: nowhere.write(volume.data) and None) as sink,
            SealedWriter(sink.write, password, on_record=manifest.add, on_problem=print) as writer,
        ):
            for number in range(count):
                path = b"folder-%03d/file-%07d.php" % (number % 997, number)
                writer.add(Entry(Metadata(path=path), length, lambda number=number: blocks(number)))
            writer.close()
            sink.close()
        manifest.close(())


def stock(tree: str, out: str, password: str) -> None:
    import pyzipper

    options = {"compression": pyzipper.ZIP_DEFLATED, "compresslevel": 6, "encryption": pyzipper.WZ_AES}
    with pyzipper.AESZipFile(Path(out, "t.zip"), "w", **options) as archive:
        archive.setpassword(password.encode())
        for path in sorted(Path(tree).rglob("*")):
            archive.write(path, path.relative_to(tree))


def boto3_alone(volumes: str, endpoint: str, threads: str) -> None:
    """The same volumes by boto3 as it comes: each body is in memory."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(s3={"addressing_style": "path"})
    )
    client.create_bucket(Bucket="backups")
    paths = sorted(Path(volumes).glob("vol.zip*"))

    def put(path: Path) -> None:
        client.put_object(Bucket="backups", Key=path.name, Body=path.read_bytes())

    with timed(), ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(put, paths))


def uploads_alone(volumes: str, endpoint: str, threads: str) -> None:
    """The same volumes as a run sends them; their hashes are known, as the archive computes them."""
    from orchestrator.archive import Volume
    from orchestrator.archive.mapped_memory import pieces
    from orchestrator.backup.uploads import Lane, Uploads
    from orchestrator.config.stores import S3Store
    from orchestrator.repository.layout import SnapshotName
    from orchestrator.stores import open_store

    with tempfile.NamedTemporaryFile("w") as keys:
        environment = os.environ
        keys.write(f"[default]\naccess_key = {environment['AWS_ACCESS_KEY_ID']}\n"
                   f"secret_key = {environment['AWS_SECRET_ACCESS_KEY']}\n")  # fmt: skip
        keys.flush()
        settings = S3Store(type="s3", endpoint=endpoint, bucket="backups", credentials_file=keys.name)
        store = open_store("swift", settings)
    store.prepare()
    found = []
    for index, path in enumerate(sorted(Path(volumes).glob("vol.zip*")), start=1):
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for piece in pieces(data):
            sha256.update(piece)
            md5.update(piece)
        found.append(Volume(index, data, sha256.digest(), md5.digest()))
    lane = Lane(store)
    name = SnapshotName("here", "tree", "20260101T000000Z-abcdefgh")
    uploads = Uploads([lane], name, found[0].size, int(threads))
    with timed():
        for volume in found:
            uploads.deliver(volume)
        uploads.finish()
    if lane.error:
        raise SystemExit(str(lane.error))


def counted(*arguments: str) -> None:
    """The command line, in this process; prints how many bytes of objects it read."""
    from leitstand.cli import run
    from orchestrator.stores.folder import FolderStore

    read, get = [0], FolderStore.get

    def counting_get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = get(self, key, start, length)
        read[0] += len(data)
        return data

    FolderStore.get = counting_get
    with redirect_stdout(sys.stderr):
        status = run(list(arguments))
    if status:
        raise SystemExit(status)
    print(json.dumps({"read": read[0]}))


@contextmanager
def timed() -> Iterator[None]:
    start = time.monotonic()
    yield
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    tasks = {"seal": seal, "verify": verify, "one-file": one_file, "growth": growth, "stock": stock}
    tasks |= {"boto3": boto3_alone, "uploads": uploads_alone, "counted": counted}
    tasks[sys.argv[1]](*sys.argv[2:])
