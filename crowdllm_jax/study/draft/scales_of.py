"""The scales of a study: one for all questions that are answered alike, with a telling name."""

import re

from crowdllm_jax.study.scales import Continuous, Scale, kind, labels


class ScaleNames:
    """Scales under the names that they are given as they come."""

    def __init__(self) -> None:
        self.by_name: dict[str, Scale] = {}

    def name(self, scale: Scale) -> str:
        """The name of a scale: the same for the same scale."""
        for name, known in self.by_name.items():
            if known == scale:
                return name
        base = _name(scale)
        name, number = base, 2
        while name in self.by_name:
            name, number = f"{base}_{number}", number + 1
        self.by_name[name] = scale
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
    return re.sub(r"\W+", "_", text)[:24].strip("_").lower() or "level"
