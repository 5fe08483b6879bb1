"""What a diagnostic says."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that may be wrong.

    Attributes:
      value: of the measure; None where it cannot be taken here, and `detail` says why.
      fires: whether something is wrong. threshold: beyond which, and why there.
      advice: what to do about it in this run.
    """

    name: str
    measure: str
    value: float | None
    fires: bool
    threshold: str
    detail: str = ""
    advice: str = ""
