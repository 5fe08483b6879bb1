"""What crowds and measures are called on the page and in the terminal."""

from crowdllm_jax.score.answers import ANSWER_METRICS

MODELS = {
    "humans": "Humans (noise ceiling)",
    "twin": "Twin (persistent)",
    "persistent": "CrowdLLM (persistent)",
    "cvae": "CrowdLLM as published (cvae)",
    "vae_only": "VAE only (no reference)",
    "reference": "Reference as it is",
    "reference_sampled": "Reference, sampled",
    "reference_noise": "Reference + fitted noise",
    "personas": "LLM asked per persona",
    "task_person": "Task + person bias",
    "task_marginal": "Training answers per task",
    "marginal": "Training answers, pooled",
    "uniform": "Uniform",
}
"""Every crowd that can be scored, in the scoreboard's order, as people call it."""

HEADINGS = {
    "skill": "Skill",
    "mae": "MAE",
    "rmse": "RMSE",
    "cs": "CS",
    "avg_wd": "Avg. WD",
    "nwd": "Avg. WD / range",
    "js": "Jensen-Shannon",
    "ks": "KS similarity",
    "rps": "RPS",
    "accuracy": "Accuracy",
    "ece": "Calibration error",
    "pooled_wd": "Pooled WD",
    "variance_ratio": "Variance ratio",
    "personal_sd": "Personal SD",
    "personal_wd": "Personal WD",
    "icc": "ICC",
    "correlation_error": "Correlation error",
    "gap_error": "Subgroup gap error",
    "regression_agreement": "Regression agreement",
    "log_loss": "Log loss",
    "r": "r",
    "r_tasks": "r within tasks",
    "coverage": "In 90% set",
    "claimed": "Claimed",
    "gain": "Gain",
}
"""Every measure, as people call it, in the scorecard's order."""

BOARD = (
    "skill",
    "mae",
    "rmse",
    "cs",
    "avg_wd",
    "rps",
    "pooled_wd",
    "variance_ratio",
    "personal_sd",
    "personal_wd",
    "icc",
)
"""The measures that every crowd is shown with."""


def board_of(split: str) -> tuple[str, ...]:
    """The measures to show of what was held out."""
    return ANSWER_METRICS if split == "answers" else BOARD
