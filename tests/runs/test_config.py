"""Configurations: what YAML means here, overrides, and the way back."""

import re

import msgspec
import pytest
from synthetic import write_config, write_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.runs.config import Config, differences, dump_config, load_config, load_study
from crowdllm_jax.study.records import fingerprint


def load(tmp_path, text: str, *overrides: str) -> Config:
    (tmp_path / "c.yaml").write_text(text)
    return load_config(tmp_path / "c.yaml", overrides)


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3", ".001"])
def test_small_numbers_are_numbers(tmp_path, text):
    """YAML 1.1 reads 1e-3 as a text."""
    config = load(tmp_path, f"study: anes96\ntrain: {{learning_rate: {text}}}\n")
    assert config.train.learning_rate == 0.001
    assert load(tmp_path, "study: anes96", f"train.learning_rate={text}") == config


def test_words_stay_words(tmp_path):
    """YAML 1.1 reads on, off, yes and no as truth values, and 1:30 as ninety."""
    levels = ["on", "off", "yes", "no", "y", "1:30"]
    config = load(
        tmp_path,
        "study:\n  responses: {path: r.csv}\n  scales:\n"
        f"    mood: {{kind: nominal, levels: [{', '.join(levels)}]}}\n",
    )
    assert config.study.scales["mood"].levels == tuple(levels)


def test_numbers_keep_their_kind(tmp_path):
    config = load(
        tmp_path,
        "study:\n  responses: {path: r.csv}\n  scales: {s: {kind: ordinal, levels: [1, 2.5, 010]}}",
    )
    # YAML 1.2 has no octal numbers without an o.
    assert config.study.scales["s"].levels == (1, 2.5, 10)


def test_keys_are_names_as_they_are_written(tmp_path):
    """Names of the data may look like anything; YAML reads 1, 1.0, true and 010 as values."""
    config = load(
        tmp_path,
        """\
study:
  responses: {path: r.csv}
  tasks: {attributes: {7: numeric}}
  participants: {profile: {2024: categorical, true: numeric}}
  scales: {1: {kind: binary}}
reference: {kind: column, path: a.csv, where: {3: 4}}
profiles: {margins: {2024: {1: 0.2, 1.0: 0.2, true: 0.2, 010: 0.2, ~: 0.2}}}
""",
    )
    assert list(config.study.participants.profile) == ["2024", "true"]
    assert list(config.study.tasks.attributes) == ["7"]
    assert list(config.study.scales) == ["1"]
    assert config.reference.where == {"3": 4}
    assert list(config.profiles.margins["2024"]) == ["1", "1.0", "true", "010", "~"]
    assert load(tmp_path, dump_config(config)) == config
    changed = load(tmp_path, "study: anes96", "profiles.margins={sex: {1: 0.49, 2: 0.51}}")
    assert changed.profiles.margins == {"sex": {"1": 0.49, "2": 0.51}}
    with pytest.raises(CrowdError, match='duplicate key "1"'):
        load(tmp_path, "study: anes96\nprofiles: {margins: {sex: {1: 1, '1': 0}}}")


def test_truth_values(tmp_path):
    assert load(
        tmp_path, "study: anes96", "model.kind=cvae", "model.semi_implicit=true"
    ).model.semi_implicit
    with pytest.raises(CrowdError, match=r"model\.semi_implicit"):
        load(tmp_path, "study: anes96", "model.kind=cvae", "model.semi_implicit=on")


def test_overrides_make_what_is_absent(tmp_path):
    config = load(
        tmp_path,
        "study: anes96",
        "split.by=people",
        "seeds=3",
        "reference.kind=fitted",
        "reference.folds=2",
        "split.test=0.5",
        "split.test=0.4",
    )
    assert (config.split.by, config.seeds, config.split.test) == ("people", 3, 0.4)
    assert config.reference.folds == 2


def test_overrides_of_an_absent_section_change_the_default_kind(tmp_path):
    config = load(tmp_path, "study: anes96", "model.latent=3")
    assert config == msgspec.structs.replace(
        Config(study="anes96"), model=PersistentConfig(latent=3)
    )
    # In either order a kind can still be chosen.
    for texts in (("model.kind=cvae", "model.latent=3"), ("model.latent=3", "model.kind=cvae")):
        assert load(tmp_path, "study: anes96", *texts).model == CvaeConfig(latent=3)
    # Not "did you mean 'path'?"
    with pytest.raises(CrowdError, match=r"belongs to 'reference\.path' of kind: column"):
        load(tmp_path, "study: anes96", "reference.path=a.csv")
    with pytest.raises(CrowdError, match=r"train\.steps: .* belongs to 'model\.steps'"):
        load(tmp_path, "study: anes96", "train.steps=3")


def test_a_dumped_configuration_reads_back(tmp_path, config_file):
    for config in (
        load_config(config_file),
        load(tmp_path, "study: anes96", "profiles.margins={education: {a: 0.5}}", "seeds=7"),
    ):
        assert load(tmp_path, dump_config(config)) == config


def test_defaults_are_written_out(tmp_path):
    text = dump_config(load(tmp_path, "study: anes96"))
    for key in ("learning_rate", "noise_scale", "patience", "smoothing", "kind: marginal"):
        assert key in text


def test_the_order_of_attributes_and_scales_is_kept(tmp_path):
    """Sorted, they would be another study, and the run folder's own commands would refuse it."""
    text = """\
study:
  responses: {path: ratings.csv}
  tasks: {scale: kind}
  scales: {stars: {kind: binary}, likes: {kind: approval}}
  participants: {profile: {gender: categorical, age: numeric}}
"""
    stored = load(tmp_path, dump_config(load(tmp_path, text))).study
    assert list(stored.participants.profile) == ["gender", "age"]
    assert list(stored.scales) == ["stars", "likes"]


def test_differences_name_dotted_keys(tmp_path):
    one = load(tmp_path, "study: anes96")
    other = load(tmp_path, "study: anes96", "train.epochs=3", "reference.kind=fitted")
    assert differences(one, one) == []
    assert differences(one, other) == ["reference.folds", "reference.kind", "train.epochs"]


def test_data_replaces_the_folder(tmp_path):
    path = write_config(tmp_path / "input")
    moved = tmp_path / "moved"
    moved.mkdir()
    (path.parent / "responses.csv").rename(moved / "responses.csv")
    config = load_config(path, data=str(moved))
    assert config.study.folder == str(moved)
    study = load_study(config)
    for file in (path, path.with_name("study.yaml")):
        assert fingerprint(load_study(file, str(moved))) == fingerprint(study)


def test_data_of_a_study_that_comes_along(tmp_path):
    (tmp_path / "c.yaml").write_text("study: anes96")
    with pytest.raises(CrowdError, match="comes with the package"):
        load_config(tmp_path / "c.yaml", data=".")


def test_studies_load_from_every_kind_of_file(tmp_path):
    (tmp_path / "c.yaml").write_text("study: anes96")
    assert load_study(tmp_path / "c.yaml").name == "anes96"
    assert load_study(write_study(tmp_path / "input")).name == "demo"


def test_every_part_of_a_configuration_refuses_unknown_keys():
    """A struct somewhere below that forgot to would swallow a typing error."""
    seen, waiting = set(), [msgspec.inspect.type_info(Config)]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType) and info.cls not in seen:
            seen.add(info.cls)
            assert info.forbid_unknown_fields, info.cls
            assert info.cls.__struct_config__.frozen, info.cls
            waiting += [field.type for field in info.fields]
        elif isinstance(info, msgspec.inspect.UnionType):
            waiting += info.types
        elif isinstance(info, msgspec.inspect.DictType):
            waiting.append(info.value_type)
    assert len(seen) > 15


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("model.kind=cave", "model.kind: invalid value 'cave'; give one of: cvae, persistent"),
        ("population.layout=w", "invalid enum value 'w'; give one of: long, wide"),
        (
            "reference={kind: backbone, model: m, calibration: domain}",
            "calibration: .*; give one of: contextual, none, pmi",
        ),
        (
            "study={name: a, folder: ., responses: {path: a.csv}, scales: {r: {kind: ordnal}}}",
            r"study.scales.\*.kind: .* give one of: approval, binary, .*, points, ranking",
        ),
        ("models=[persistent]", r"models\[0\]: .*'persistent'; give one of: cvae, vae_only"),
        ("model={steps: 9}", "model: .* field `kind`; give one of: cvae, persistent"),
        (
            "study={name: a, folder: ., responses: {path: a.csv}, "
            "scales: {r: {kind: binary, levels: [false, true]}}}",
            r"levels\[0\]: .*got `bool`; write it in quotes",
        ),
        (
            "study={name: a, folder: ., responses: {path: a.csv}, "
            "scales: {r: {kind: ordinal, levels: 5}}}",
            r"levels: .*; write a list",
        ),
        ("profiles.margins={sex: {f: 51%, m: 49%}}", "write a number, without quotes or a unit"),
        ("train.epochs=-1", "train.epochs: expected `int` >= 1$"),
    ],
)
def test_what_may_stand_there_is_said(tmp_path, setting, says):
    with pytest.raises(CrowdError, match=says):
        load(tmp_path, "study: anes96", setting)


def test_a_file_that_is_not_utf_8_is_told(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes("study: anes96\nseed: 0 # für\n".encode("latin-1"))
    with pytest.raises(CrowdError, match="line 2: is not UTF-8; save the file as UTF-8"):
        load_config(path)


@pytest.mark.parametrize(
    "name", ["answers.csv", "answers.sav", "answers.CSV.gz", "answers.parquet"]
)
def test_a_table_in_place_of_a_configuration_is_told_how_to_become_one(tmp_path, name):
    table = tmp_path / name
    table.write_bytes(b"id,q\n1,\xff\n")
    with pytest.raises(CrowdError, match=f"is a table, .* `crowdllm init {re.escape(name)}`"):
        load_config(table)


def test_a_folder_in_place_of_a_configuration_is_told(tmp_path):
    with pytest.raises(CrowdError, match=r"is a folder; give a YAML file .*config\.yaml"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("study: human.yaml", "'human.yaml' is no study .* keys below `study:`, as `crowdllm init"),
        ("study: {responses: a.csv}", r"study\.responses: .*keys below it; there are: path, part"),
        ("study: anes96\nmodel: persistent", "model: .*first of all kind: cvae or persistent"),
        ("study: anes96\nreference: [marginal]", r"reference\[0\]: .*first of all kind: backbone"),
        ("study: anes96\nsplit: people", "split: .*; write keys below it; there are: by, test"),
        ("study: anes96\nprofiles: {margins: 3}", "profiles.margins: .*; write a name and what"),
    ],
)
def test_a_value_in_place_of_keys_is_told_with_what_to_write(tmp_path, written, says):
    with pytest.raises(CrowdError, match=says):
        load(tmp_path, written)
