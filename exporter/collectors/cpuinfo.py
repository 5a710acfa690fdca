"""Model and features of the CPUs: /proc/cpuinfo, with ``--collector.cpu.info``."""

from collections.abc import Iterable, Mapping

from exporter.collectors.options import Options, pattern
from exporter.exposition import Family
from exporter.roots import Roots
from exporter.skipped import Skipped

# Label: keys of cpuinfo; the first one present counts.
_LABELS: Mapping[str, tuple[str, ...]] = {
    "package": ("physical id",),
    "core": ("core id",),
    "cpu": ("processor",),
    "vendor": ("vendor_id", "vendor"),
    "family": ("cpu family",),
    "model": ("model",),
    "model_name": ("model name",),
    "microcode": ("microcode",),
    "stepping": ("stepping",),
    "cachesize": ("cache size",),
}
Cpu = Mapping[str, str]


class CpuInformation:
    """node_cpu_info, node_cpu_flag_info and node_cpu_bug_info."""

    def __init__(self, roots: Roots, options: Options, skipped: Skipped) -> None:
        self._files, self._skipped = roots.proc_files, skipped
        self._words = {
            key: pattern(options, f"cpu_info_{key}_include")
            for key in ("flags", "bugs")
            if getattr(options, f"cpu_info_{key}_include")
        }
        self._is_on = options.cpu_info or bool(self._words)

    def families(self) -> Iterable[Family]:
        """The families; none unless enabled."""
        if not self._is_on:
            return
        cpus = parse_cpus(self._files.read("cpuinfo"), self._skipped)
        information = Family(
            "node_cpu_info", "gauge", "Model, microcode and cache of the CPU.", tuple(_LABELS)
        )
        for cpu in cpus.values():
            values = [next((cpu[key] for key in keys if key in cpu), "") for keys in _LABELS.values()]
            information.add(1, *values)
        yield information
        first = next(iter(cpus.values()), {})
        for key, wanted in self._words.items():
            name = key.removesuffix("s")
            family = Family(f"node_cpu_{name}_info", "gauge", f"One of the first CPU's {key}.", (name,))
            for word in filter(wanted.search, dict.fromkeys(first.get(key, "").split())):
                family.add(1, word)
            yield family


def parse_cpus(content: bytes, skipped: Skipped) -> dict[str, Cpu]:
    blocks = content.decode("utf-8", "replace").split("\n\n")
    # Some architectures have a block about the machine as a whole.
    with_number = (block for block in blocks if block.strip() and "processor" in block)
    return skipped.unique("cpuinfo", skipped.each("cpuinfo", with_number, _parse_cpu))


def _parse_cpu(block: str) -> tuple[str, Cpu]:
    pairs = (line.partition(":") for line in block.splitlines())
    cpu = {key.strip(): value.strip() for key, separator, value in pairs if separator}
    return str(int(cpu["processor"])), cpu
