"""Fixtures of studies about which a language model is asked: a reference or personas."""

import json

import families
import pytest
import vocabularies
from fake_server import Server
from synthetic import make_study, rows_of, write_config, write_table

from crowdllm_jax.backbone import scoring

TASKS = 12


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    servers = []

    def start(behave):
        servers.append(Server(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny random checkpoint with a chat template."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-chat"
    families.make("llama2", folder, vocab_size=400)
    vocabularies.save(vocabularies.bytelevel(), folder, vocabularies.CHAT)
    return folder


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Write a study with texts in a long table and a configuration with a reference section; runs
    in a folder of its own, where the cache goes."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def write(**reference):
        study = make_study(tasks=TASKS)
        path = write_config(tmp_path / "input", study)
        texts = [study.tasks.text[t] + "?" for t in study.task]
        write_table(path.with_name("responses.csv"), rows_of(study) | {"text": texts})
        content = path.read_text()
        content = content.replace("  participants:", "  tasks: {text: text}\n  participants:")
        content += f"reference: {json.dumps(reference)}\n"
        path.write_text(content)
        return path

    return write


@pytest.fixture
def scored(monkeypatch):
    """The prompts that were computed, in order."""
    computed, real = [], scoring._answers

    def counting(backbone, sent, encoded):
        computed.extend(e.text for e in encoded)
        return real(backbone, sent, encoded)

    monkeypatch.setattr(scoring, "_answers", counting)
    return computed
