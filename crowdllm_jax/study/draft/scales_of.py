"""The scales of a study: one for all questions that are answered alike, with a telling name."""

import re

from crowdllm_jax.study.scales import Continuous, Scale, kind, labels


class ScaleNames:
    """Scales under the names that they are given as they come."""

    def __init__(self) -> None:
        self.by_name: dict[str, Scale] = {}
        self._ballot: dict[str, str] = {}

    def name(self, scale: Scale, ballot: str = "") -> str:
        """The name of a scale: the same for the same scale; of a ballot, of this ballot alone."""
        if ballot in self._ballot.values():
            return next(name for name, own in self._ballot.items() if own == ballot)
        for name, known in self.by_name.items():
            if known == scale and not ballot and name not in self._ballot:
                return name
        base = f"{kind(scale)}_{_short(ballot)}" if ballot else _name(scale)
        name, number = base, 2
        while name in self.by_name:
            name, number = f"{base}_{number}", number + 1
        self.by_name[name] = scale
        if ballot:
            self._ballot[name] = ballot
        return name


def _name(scale: Scale) -> str:
    if isinstance(scale, Continuous):
        return "number"
    shown = labels(scale)
    if not hasattr(scale, "levels"):
        return kind(scale)
    ends = f"{_short(shown[0])}_to_{_short(shown[-1])}"
    return f"choice_of_{len(shown)}" if kind(scale) == "nominal" else ends


def _short(text: str) -> str:
    told = re.sub(r"^-(?=\d)", "minus_", text)
    return re.sub(r"\W+", "_", told)[:24].strip("_").lower() or "level"
