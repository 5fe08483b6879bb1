"""The configurations that come with the project are good, with or without what they point at."""

from pathlib import Path

import pytest

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.introductions import introductions
from crowdllm_jax.reference.make import ask_reference
from crowdllm_jax.reference.questions import prompt_and_questions
from crowdllm_jax.runs.config import dump_config, load_config, load_study
from crowdllm_jax.runtime.progress import silent

ROOT = Path(__file__).parents[2]
CONFIGS = {str(path.relative_to(ROOT)): path for path in ROOT.glob("configs/**/*.yaml")}
CONFIGS.pop("configs/cluster/jobset.yaml")  # of Kubernetes


@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads_and_says_how_it_is_run(name, tmp_path):
    config = load_config(CONFIGS[name])
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config
    assert f"crowdllm run {name}" in CONFIGS[name].read_text()


def test_the_language_model_is_asked_as_voters():
    """What is asked needs no model: questions in both orders, and personas of age and education."""
    config = load_config(CONFIGS["configs/llm.yaml"])
    study = load_study(config)
    prompt, questions = prompt_and_questions(study, config.reference.prompt, 2)
    assert len(questions) == 2 * len(study.tasks.ids)
    assert questions[0].options == questions[6].options[::-1]
    people = introductions(study.participants.profile, config.reference.prompt)
    assert people[0] == "Answer as a voter of 36 years would, whose education is: high school.\n\n"
    assert prompt.system
    assert "- " not in prompt.option


def test_a_model_that_is_not_there_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = CONFIGS["configs/llm.yaml"]
    config = load_config(path)
    with pytest.raises(CrowdError, match=r"Q4_1\.gguf: no such file in "):
        ask_reference(load_study(config), config.reference, (), silent)
    assert main(["run", str(path), "--quiet"]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
