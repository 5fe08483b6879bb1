"""Texts with what several people said of each, in JSON."""

import json
from pathlib import Path

import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Draft
from crowdllm_jax.study.draft.make import draft_of_file

MANY = 20


def drafted(folder: Path, records: list[dict] | dict) -> Draft:
    path = folder / "texts.json"
    path.write_text(json.dumps(records))
    return draft_of_file(path)


def label(text: int, person: int) -> str:
    return "pos" if (text + person) % 3 else "neg"


def shapes(text: int) -> dict[str, dict]:
    """One text with three people's labels, as it is written in several ways."""
    said = [label(text, person) for person in range(3)]
    people = ["ann1", "ann2", "ann3"]
    sent = [
        {"user_id": who, "status": "submitted", "values": {"tone": {"value": own}}}
        for who, own in zip(people, said, strict=True)
    ]
    values = [{"user_id": who, "value": own} for who, own in zip(people, said, strict=True)]
    return {
        "object": {"annotations": dict(zip(people, said, strict=True))},
        "lists": {"annotators": people, "labels": said},
        "commas": {"annotators": ",".join(people), "annotations": ",".join(said)},
        "argilla 1": {"responses": sent},
        "argilla 2": {"responses": {"tone": values}},
    }


@pytest.mark.parametrize("shape", ["object", "lists", "commas", "argilla 1", "argilla 2"])
def test_each_answer_is_somebodys(tmp_path, shape):
    records = [{"id": i, "text": f"the text {i}", **shapes(i)[shape]} for i in range(MANY)]
    draft = drafted(tmp_path, records)
    assert draft.people == ("ann1", "ann2", "ann3")
    assert [task.text for task in draft.tasks[:2]] == ["the text 0", "the text 1"]
    given = [draft.answers[code] for code in draft.answer]
    assert given[:4] == [label(0, 0), label(0, 1), label(0, 2), label(1, 0)]
    assert len(given) == 3 * MANY
    keyed = {f"t{i}": {k: v for k, v in one.items() if k != "id"} for i, one in enumerate(records)}
    assert drafted(tmp_path, keyed).tasks[0].id == "t0"


def test_what_was_discarded_was_not_said(tmp_path):
    records = [{"id": i, "text": f"a text {i}", **shapes(i)["argilla 1"]} for i in range(MANY)]
    records[0]["responses"][0]["status"] = "discarded"
    assert len(drafted(tmp_path, records).answer) == 3 * MANY - 1


def test_every_answer_needs_its_annotator(tmp_path):
    records = [{"id": i, "text": "a", **shapes(i)["lists"]} for i in range(MANY)]
    records[3]["labels"] = ["pos"]
    with pytest.raises(CrowdError, match="record 4 has 3 annotators and 1 answers"):
        drafted(tmp_path, records)


@pytest.mark.parametrize(
    "held",
    [{"ratings": {"film a": 3, "film b": 4}}, {"scores": {"maths": 1, "art": 2}}],
)
def test_somebodys_ratings_are_no_annotators(tmp_path, held):
    key = next(iter(held))
    records = [
        {"user": f"u{i}", key: {own: 1 + (i + place) % 5 for place, own in enumerate(held[key])}}
        for i in range(MANY)
    ]
    draft = drafted(tmp_path, records)
    assert len(draft.people) == MANY
    assert len(draft.tasks) == 2


def test_annotations_of_another_kind_are_no_label_studio(tmp_path):
    records = [{"id": i, "mood": 1 + i % 5, "annotations": "a, b"} for i in range(MANY)]
    assert len(drafted(tmp_path, records).people) == MANY
