"""What each source of task features brought to a fitted reference."""

import math

from crowdllm_jax.reference.record import Reference
from crowdllm_jax.score.finding import Finding

NAME = "sources that bring nothing"


def feature_gain(reference: Reference) -> Finding:
    """Sources without which the training tasks, each left out in turn, are forecast as well."""
    measure = (
        "sources of task features without which left-out training tasks are forecast no worse (RPS)"
    )
    threshold = "any: what does not help on training tasks will not on new ones"
    if reference.fitted is None:
        return Finding(NAME, measure, None, False, threshold, "the reference is not of several")

    def told(fit: tuple[float, float]) -> str:
        rps = "" if math.isnan(fit[0]) else f"RPS {fit[0]:.4f}, "
        return f"{rps}r {fit[1]:.3f}"

    # On a continuous scale the correlation has to do.
    by_rps = not math.isnan(reference.fitted[0])
    idle = [
        gain.source
        for gain in reference.gains
        if (
            gain.without[0] <= reference.fitted[0]
            if by_rps
            else gain.without[1] >= reference.fitted[1]
        )
    ]
    lines = [f"all {told(reference.fitted)}"]
    lines += [
        f"{gain.source} alone {told(gain.alone)}, the others without it {told(gain.without)}"
        for gain in reference.gains
    ]
    return Finding(NAME, measure, float(len(idle)), bool(idle), threshold, "; ".join(lines))
