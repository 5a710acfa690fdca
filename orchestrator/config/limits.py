"""The section ``limits`` of a job: how much one of its sources may send."""

from datetime import timedelta

from pydantic import Field

from leitstand.errors import LeitstandError
from leitstand.settings.models import Duration, Model
from orchestrator.config.fields import Size


class SourceLimitError(LeitstandError):
    """A source sent more than the job's limits allow: the run fails and leaves no snapshot."""


class Limits(Model):
    """Limits for one source, so that a broken or hostile host cannot fill the store or the memory."""

    bytes: Size = Field(
        default="10TB", validate_default=True, ge=1, description="Maximum content of a source."
    )
    entries: int = Field(
        default=5_000_000, ge=1, description="Maximum number of files and folders of a source."
    )
    time: Duration = Field(
        default="2d",
        validate_default=True,
        ge=timedelta(seconds=1),
        description="Time limit for reading a source.",
    )

    def exceeded(self, label: str, limit: str) -> SourceLimitError:
        """The error of a source that sends more."""
        most = f"{self.time.total_seconds():g} s" if limit == "time" else f"{getattr(self, limit)} {limit}"
        return SourceLimitError(
            f"{label}: more than {most}, so no snapshot was made",
            f"if that is expected, raise backups.NAME.limits.{limit} in leitstand.yml",
        )
