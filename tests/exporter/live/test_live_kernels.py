"""Kernels that are older, or were started otherwise, than the one under the tests."""

import errno

import pytest

from exporter.collectors.collector import NoData
from exporter.collectors.files import Files
from exporter.collectors.memory import Pressure


class Refusing(Files):
    """Files that are there and answer every read with this error."""

    error = 0

    def attribute(self, path):
        raise OSError(self.error, "refused", path)


@pytest.mark.parametrize(("error", "expected"), [(errno.EOPNOTSUPP, NoData), (errno.EIO, OSError)])
def test_a_kernel_started_without_pressure_stall_information_is_no_failure(host, error, expected):
    roots = host.roots
    files = roots.__dict__["proc_files"] = Refusing(roots.proc)
    files.error = error
    with pytest.raises(expected):
        Pressure(roots).collect()
