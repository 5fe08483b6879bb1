"""How a persona is introduced to a language model: a profile as a text."""

import string
from collections.abc import Mapping, Sequence

import numpy as np

from crowdllm_jax.backbone.questions import check_fields
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.questions import PromptConfig
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute


def introductions(profile: Sequence[Attribute], prompt: PromptConfig) -> list[str]:
    """The text that stands for {persona}, for each of N profiles.

    Raises:
      CrowdError: there are no attributes, or the template has a placeholder for something else.
    """
    if not profile:
        raise CrowdError(
            "reference.personas: the study has no profiles, so there is nobody to answer as; name "
            "their columns in study.participants.profile"
        )
    check_fields("persona", prompt.persona, allowed={"profile", *(a.name for a in profile)})
    check_fields("attribute", prompt.attribute, required={"value"}, allowed={"name"})
    if not any(field for _, field, _, _ in string.Formatter().parse(prompt.persona)):
        raise CrowdError(
            "prompt.persona: all personas would be alike; put {profile} or an attribute in it"
        )
    written = {a.name: _written(a) for a in profile}
    count = len(profile[0].cells)
    texts = []
    for n in range(count):
        cells = {name: values[n] for name, values in written.items()}
        lines = [
            _fill(prompt.attribute, {"name": name, "value": value})
            for name, value in cells.items()
            if value is not None
        ]
        known = {name: "unknown" if value is None else value for name, value in cells.items()}
        texts.append(_fill(prompt.persona, known | {"profile": "; ".join(lines) or "unknown"}))
    return texts


def _written(attribute: Attribute) -> list[str | None]:
    """Each cell as a text; None where it is missing."""
    if attribute.kind == "numeric":
        return [None if np.isnan(cell) else f"{cell:.12g}" for cell in attribute.cells]
    levels = [None if level == MISSING else level for level in attribute.levels]
    return [levels[cell] for cell in attribute.cells]


def _fill(template: str, values: Mapping[str, str]) -> str:
    parts = string.Formatter().parse(template)
    return "".join(literal + (values[field] if field else "") for literal, field, _, _ in parts)
