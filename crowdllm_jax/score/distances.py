"""How far the answers to each task lie apart in a crowd and among people, by their histograms.

What each distance is, `metrics` says.
"""

import numpy as np
from scipy.special import rel_entr

from crowdllm_jax.study.bins import BINS

DISTANCES = ("avg_wd", "nwd", "ks", "rps", "cs", "js")


def distances(
    crowd: np.ndarray, humans: np.ndarray, step: np.ndarray | None, width: float
) -> dict[str, np.ndarray]:
    """(T,) each of `DISTANCES`, of tasks on one scale.

    Args:
      crowd, humans: (T, K) shares of the answers.
      step: (K - 1,) between neighbouring values; None without an order, where any two are 1 apart.
      width: of the scale, its highest value less its lowest.
    """
    p, q = coarse(crowd), coarse(humans)
    norm = np.linalg.norm(p, axis=1) * np.linalg.norm(q, axis=1)
    alike = {"cs": (p * q).sum(1) / norm.clip(1e-300), "js": _jensen_shannon(p, q)}
    if step is None:
        apart = np.abs(crowd - humans).sum(1) / 2
        rps = (crowd**2 - 2 * crowd * humans + humans).sum(1) / 2
        return {"avg_wd": apart, "nwd": apart, "ks": 1 - apart, "rps": rps, **alike}
    below, human_below = crowd.cumsum(1)[:, :-1], humans.cumsum(1)[:, :-1]
    gap = np.abs(below - human_below)
    return {
        "avg_wd": gap @ step,
        "nwd": gap @ step / width,
        "ks": 1 - gap.max(1),
        # Mean over answers y of (F(v) - [y <= v])^2, given that a share G(v) has y <= v.
        "rps": (below**2 - 2 * below * human_below + human_below) @ step,
        **alike,
    }


def coarse(histogram: np.ndarray) -> np.ndarray:
    """Ten bins for a scale that was cut into BINS; the levels themselves otherwise."""
    if histogram.shape[1] != BINS:
        return histogram
    return np.asarray(histogram.reshape(len(histogram), 10, -1).sum(2))


def calibration_error(forecast: np.ndarray, rate: np.ndarray, times: np.ndarray) -> float:
    """Expected calibration error of forecasts that came true at a rate, each of so many times."""
    tenth = np.minimum((forecast * 10).astype(int), 9)
    said, true = (np.bincount(tenth, times * x, 10) for x in (forecast, rate))
    return float(np.abs(said - true).sum() / times.sum())


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(T,) Jensen-Shannon distance to base 2 of the rows of two (T, K) tables."""
    middle = (p + q) / 2
    # scipy's jensenshannon is NaN where rounding makes the divergence of alike rows less than 0.
    divergence = rel_entr(p, middle).sum(1) + rel_entr(q, middle).sum(1)
    return np.asarray(np.sqrt((divergence / 2 / np.log(2)).clip(0)))
