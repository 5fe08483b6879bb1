"""A study that a tiny language model can be asked about."""

from pathlib import Path

import families
import vocabularies
from synthetic import make_study, rows_of, write_config, write_table


def write_asked(folder: Path) -> tuple[Path, Path]:
    """Write a study of 30 tasks with texts, and a language model of random weights; returns the
    configuration, which has no reference yet, and the model's folder."""
    model = folder / "tiny-chat"
    families.make("llama2", model, vocab_size=400)
    vocabularies.save(vocabularies.bytelevel(), model, vocabularies.CHAT)
    study = make_study(tasks=30)
    path = write_config(folder / "input", study)
    texts = {"text": [f"Task number {t}?" for t in study.task]}
    write_table(path.with_name("responses.csv"), rows_of(study) | texts)
    content = path.read_text()
    path.write_text(content.replace("  participants:", "  tasks: {text: text}\n  participants:"))
    return path, model
