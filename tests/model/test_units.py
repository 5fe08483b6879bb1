"""Effects that move several scales: as far on each as its answers lie apart."""

from pathlib import Path

import numpy as np

import crowdllm_jax as cl
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.prepare import fit

CONFIG = """\
study:
  name: two scales
  folder: {folder}
  responses: {{path: responses.csv}}
  tasks: {{path: tasks.csv, task: task, scale: scale, attributes: {{size: numeric}}}}
  scales:
    percent: {{kind: continuous, low: 0, high: 100}}
    rating: {{kind: ordinal, levels: [1, 2, 3, 4, 5]}}
split: {{by: tasks, test: 0.4, validation: 0}}
"""
PEOPLE, TASKS = 40, 24


def test_what_a_feature_does_is_told_of_percents_and_ratings_alike(tmp_path: Path):
    """A slope in logits would put percents at the ends of their range. Each of ten questions has a
    mean of 40 people's answers (deviation 17, so 3 points), and the slope is shared by ratings: at
    either end of the feature a mean is known to some 4 points, of which three are allowed."""
    random = np.random.default_rng(0)
    size = np.linspace(0, 10, TASKS)[random.permutation(TASKS)]
    scale = np.where(np.arange(TASKS) % 2, "percent", "rating")
    place = (size - 5) / 2.5 + random.normal(size=(PEOPLE, 1)) + random.normal(size=(PEOPLE, TASKS))
    percent = np.clip(np.rint(50 + 10 * place), 0, 100).astype(int)
    rating = np.clip(np.rint(3 + 0.7 * place), 1, 5).astype(int)
    answer = np.where(scale == "percent", percent, rating)
    rows = [f"p{p},t{t},{answer[p, t]}" for p in range(PEOPLE) for t in range(TASKS)]
    write(tmp_path / "responses.csv", "participant,task,response", rows)
    rows = [f"t{t},{scale[t]},{size[t]}" for t in range(TASKS)]
    write(tmp_path / "tasks.csv", "task,scale,size", rows)
    new = [0.5, 5.0, 9.5]
    write(tmp_path / "new.csv", "task,scale,size", [f"n{s},percent,{s}" for s in new])
    (tmp_path / "c.yaml").write_text(CONFIG.format(folder=tmp_path))
    config = load_config(tmp_path / "c.yaml", ("model={kind: persistent, latent: 2, steps: 300}",))
    study = load_study(config)
    crowd, _ = fit(study, config)
    told = cl.ask((crowd, study, config), tmp_path / "new.csv").table["share"].to_pylist()
    np.testing.assert_allclose(told, [50 + 4 * (s - 5) for s in new], atol=12)


def write(path: Path, head: str, rows: list[str]) -> None:
    path.write_text("\n".join([head, *rows]) + "\n")
