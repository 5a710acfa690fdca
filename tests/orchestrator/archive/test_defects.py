"""What pyzipper 0.4 does wrong, shown closed: one test for each, in the order of docs/archive-format.md."""

import gc
import io
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import pyzipper

from orchestrator.archive import ArchiveError, Entry, Kind, Metadata
from orchestrator.archive.reader import SealedReader
from orchestrator.archive.sealed_zip import SealedZipFile


@pytest.fixture
def resealed(password: Any) -> Callable[..., bytes]:
    """Any inner ZIP, or none, sealed with the right password: what someone with the key could forge."""

    def make(inner: bytes, name: str = "backup.zip") -> bytes:
        out = bytearray()
        archive = SealedZipFile(out.extend, password)
        entry = archive.start(name)
        entry.write(inner)
        entry.close()
        archive.close()
        return bytes(out)

    return make


def reader_of(data: bytes, password: str) -> SealedReader:
    return SealedReader(lambda offset, length: data[offset : offset + length], len(data), password)


def test_1_extra_fields_are_written_to_both_headers(password):
    extra = struct.pack("<2H4s", 0x7875, 4, b"test")
    out = bytearray()
    archive = SealedZipFile(out.extend, password)
    archive.start("file", extra=extra).close()
    archive.close()
    assert out.count(extra) == 2
    assert extra in zipfile.ZipFile(io.BytesIO(out)).getinfo("file").extra


@pytest.mark.parametrize("where", ["entry", "archive"])
def test_2_an_error_leaves_no_well_formed_archive(password, where):
    out = bytearray()
    with pytest.raises(OSError, match="dump"), SealedZipFile(out.extend, password) as archive:
        if where == "archive":
            archive.start("dump.sql").write(b"INSERT")
            raise OSError("dump failed")
        with archive.start("dump.sql") as entry:
            entry.write(b"INSERT")
            raise OSError("dump failed")
    del archive
    gc.collect()
    assert b"PK\5\6" not in out
    assert b"PK\7\x08" not in out


def test_2_an_error_in_an_entry_spoils_the_archive_even_when_it_is_caught(password):
    out = bytearray()
    archive = SealedZipFile(out.extend, password)
    try:
        with archive.start("dump.sql") as entry:
            entry.write(b"INSERT")
            raise OSError("dump failed")
    except OSError:
        archive.close()
    assert b"PK\5\6" not in out


def test_3_an_unencrypted_entry_is_refused(password):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as plain:
        plain.writestr("backup.zip", b"forged")
    with pytest.raises(ArchiveError):
        reader_of(out.getvalue(), password)


def test_4_a_lowered_size_in_the_central_directory_is_found(seal, entry):
    sealed = seal([entry(b"a", os.urandom(102_400))])
    central = sealed.data.rindex(b"PK\1\2")
    size = struct.unpack_from("<L", sealed.data, central + 24)[0]
    assert size > 102_400
    struct.pack_into("<L", sealed.data, central + 24, 1000)
    assert [problem.what for problem in sealed.verify()] == ["the bytes after its data were changed"]


def test_5_swapped_names_are_found_and_named(seal, entry, unseal, resealed, password):
    sealed = seal([entry(b"one.php", b"1" * 500), entry(b"two.php", b"2" * 500)])
    inner = unseal(sealed).read_bytes()
    forged = (
        inner.replace(b"one.php", b"xxx.php").replace(b"two.php", b"one.php").replace(b"xxx.php", b"two.php")
    )
    problems = reader_of(resealed(forged), password).verify(sealed.records)
    assert [problem.path for problem in problems] == [b"", b"one.php", b"two.php", b""]


def test_6_not_a_byte_is_handed_out_before_it_is_proven(seal, entry):
    sealed = seal([entry(b"a", os.urandom(3 << 20))])
    sealed.data[2 << 20] ^= 1
    with pytest.raises(ArchiveError, match="SHA-256"):
        sealed.reader().open(sealed.record(b"a"))


def test_7_links_are_kept_as_links_and_pyzippers_own_writer_is_refused(tmp_path, seal, unseal, password):
    (tmp_path / "secret").write_bytes(b"not to be followed")
    link = Entry(Metadata(path=b"link", kind=Kind.SYMLINK, mode=0o777, link=os.fsencode(tmp_path / "secret")))
    sealed = seal([link, Entry(Metadata(path=b"\xff\xfe"), 1, lambda: (b"x",))])
    with zipfile.ZipFile(unseal(sealed)) as inner:
        assert inner.read("link") == os.fsencode(tmp_path / "secret")
        assert inner.namelist() == ["link", "%FF%FE"]
    archive = SealedZipFile(lambda _data: None, password)
    for method in (archive.write, archive.writestr, archive.extract, archive.extractall):
        with pytest.raises(NotImplementedError):
            method(tmp_path / "secret")


def test_8_there_is_no_archive_without_a_password():
    with pytest.raises(ArchiveError, match="needs a password"):
        SealedZipFile(lambda _data: None, "")


def test_8_an_archive_with_an_unencrypted_entry_is_never_finished(password):
    out = bytearray()
    archive = SealedZipFile(out.extend, password)
    archive.start("backup.zip").close()
    archive.filelist[0].flag_bits &= ~1
    with pytest.raises(ArchiveError, match="unencrypted entry"):
        archive.close()
    assert b"PK\1\2" not in out


def test_9_the_local_header_of_a_stream_is_64_bit_and_aes(seal, entry):
    sealed = seal([entry(b"a", b"x")])
    version, flags, method = struct.unpack_from("<3H", sealed.data, 4)
    sizes = struct.unpack_from("<2L", sealed.data, 18)
    assert (version, flags, method) == (51, 0b1001, 99)
    assert sizes == (0xFFFFFFFF, 0xFFFFFFFF)


def test_the_stock_reader_finds_nothing_wrong_where_ours_does(seal, entry, password):
    """The reason for all of this: pyzipper hands out the first bytes of a shortened entry as if they were
    all.
    """
    sealed = seal([entry(b"a", os.urandom(102_400))])
    struct.pack_into("<L", sealed.data, sealed.data.rindex(b"PK\1\2") + 24, 1000)
    with pyzipper.AESZipFile(io.BytesIO(sealed.data)) as archive:
        archive.setpassword(password.encode())
        assert len(archive.read("backup.zip")) == 1000
    assert sealed.verify()
