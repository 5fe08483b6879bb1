"""The configuration of a run: one YAML file, typed, with unknown keys refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import structs
from ruamel.yaml import YAML

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import ModelConfig
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.profiles.generator import ProfilesConfig
from crowdllm_jax.reference.make import ReferenceConfig
from crowdllm_jax.reference.marginal import MarginalReference
from crowdllm_jax.reference.pooled import PooledReference
from crowdllm_jax.runtime.given import as_path, told
from crowdllm_jax.runtime.yaml import convert, parse, read_yaml
from crowdllm_jax.study import datasets
from crowdllm_jax.study.load import check_named, load_study_file, study_of
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.split import SplitConfig


class PopulationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The population that is written: how many agents, the seed of their answers, and whether the
    tables have a row per decision (long) or per agent (wide)."""

    agents: Annotated[int, msgspec.Meta(ge=1, le=2**62)] = 10_000
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    layout: Literal["long", "wide"] = "long"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a run depends on, besides the data.

    Attributes:
      study: a study file's content, or the name of one that comes along; None where the study is
        handed over beside the configuration, as from Python.
      reference: one, or a list of several that the persistent model trusts each by itself; what is
        scored and shown of a reference is then of the first.
      model: the crowd that is made. published: the cvae it is compared with, where `model` is
        another; the VAE-only baseline takes its settings.
      models: what is fitted beside the model, to compare it with: the published model (cvae), and
        that without a reference (vae_only).
      train: how cvae models are trained.
      seeds: number of repetitions (splits, initial weights) over which scores are reported; the
        population is drawn from the first.
    """

    study: StudySpec | datasets.Name | None = None
    split: SplitConfig = SplitConfig()
    reference: ReferenceConfig | tuple[ReferenceConfig, ...] = MarginalReference()
    profiles: ProfilesConfig = ProfilesConfig()
    model: ModelConfig = PersistentConfig()
    published: CvaeConfig = CvaeConfig()
    models: tuple[Literal["cvae", "vae_only"], ...] = ("cvae", "vae_only")
    train: TrainConfig = TrainConfig()
    population: PopulationConfig = PopulationConfig()
    seeds: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1

    @property
    def references(self) -> tuple[ReferenceConfig, ...]:
        """The reference, or several."""
        return self.reference if isinstance(self.reference, tuple) else (self.reference,)

    @property
    def every_reference(self) -> tuple[ReferenceConfig, ...]:
        """The references, those that are pooled in place of their pool."""
        each = (r.of if isinstance(r, PooledReference) else (r,) for r in self.references)
        return tuple(one for several in each for one in several)

    @property
    def first_reference(self) -> ReferenceConfig:
        """The reference, or the first of several."""
        return self.every_reference[0] if self.every_reference else MarginalReference()


def load_config(
    source: str | Path | Mapping[str, Any], overrides: tuple[str, ...] = (), data: str | None = None
) -> Config:
    """Read a configuration, from a file or from a dictionary with the same keys.

    Args:
      source: the path of a YAML file, or a dictionary; this may leave out `study`, where the study
        is at hand (see `study`).
      overrides: "key.key=value" texts that replace single entries; values are YAML.
      data: replaces `study.folder`.
    Returns:
      The configuration, with the defaults of all that is not said.
    Raises:
      CrowdError: a file cannot be read, or a key or value is not known; names the file and the key.

    Examples:
      >>> config = cl.load_config({"split": {"by": "people"}, "model": {"kind": "persistent"}})
      >>> config.split.by, config.model.steps
      ('people', 1000)
    """
    if isinstance(source, Mapping):
        # A copy, and what YAML would hold: overrides change it.
        tree, where = _plain(source), "configuration"
    elif not isinstance(source, str | Path):
        raise CrowdError(f"load_config: a path or a dictionary, not {type(source).__name__}")
    else:
        tree, where = read_yaml(Path(source)), str(source)
    if isinstance(overrides, str | Mapping) or not all(isinstance(o, str) for o in overrides):
        raise CrowdError("load_config: overrides: give a list of texts, such as model.steps=20")
    for text in overrides:
        _override(tree, text)
    if data is not None:
        if not isinstance(tree.get("study"), dict):
            raise CrowdError(f"--data: the study of {where} comes with the package, not from files")
        tree["study"]["folder"] = data
    check_named(tree.get("study"), where)
    config: Config = convert(tree, Config, where)
    if config.study is None and not isinstance(source, Mapping):
        raise CrowdError(f"{where}: missing required field `study`; it says what is answered where")
    return config


def _plain(value: Any) -> Any:
    """A dictionary's value as YAML would hold it."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def load_study(
    source: Config | str | Path, data: str | None = None, *, embedding: bool = True
) -> Study:
    """Read the study of a configuration, or of a study file (or configuration file) by path.

    Args:
      source: a configuration, or the path of a study file or configuration file.
      data: replaces the folder of a study file. embedding: read the tasks' embedding, too.
    Returns:
      The study: T tasks, N participants, R responses.
    Raises:
      CrowdError: a table cannot be read; names the file, row and column (`study.read.read_study`).

    Examples:
      >>> study = cl.load_study(cl.load_config({"study": "anes96"}))
      >>> study.tasks.ids[:2]
      ('self_placement', 'clinton_placement')
    """
    if isinstance(source, Config):
        spec, column = source.study, source.split.column
        if spec is None:
            raise CrowdError(
                "load_study: the configuration names no study; give it one under study:, or hand "
                "the study over itself, as in fit(study, config)"
            )
        if column is not None and isinstance(spec, StudySpec):
            responses = structs.replace(spec.responses, known=column)
            spec = structs.replace(spec, responses=responses)
        return study_of(spec, embedding=embedding)
    path = as_path(source, "load_study: give a configuration or a path")
    return load_study_file(path, data, embedding=embedding)


def check_config(config: object) -> None:
    """Raise CrowdError if it is none, such as a dictionary."""
    if not isinstance(config, Config):
        raise CrowdError(
            f"config: {told(config)} is no configuration; make one with cl.load_config, of a "
            "dictionary or of a file"
        )


def dump_config(config: Config) -> str:
    """The whole configuration, defaults included, as YAML that `load_config` reads back."""
    import io

    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    # No line is broken: a name that is broken within is none.
    yaml.width = 10**6
    # The order of scales and attributes is part of a study.
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump(msgspec.to_builtins(config), out)
    return out.getvalue()


def differences(one: Config, other: Config) -> list[str]:
    """Dotted keys in which two configurations differ."""

    def flat(node: Any, prefix: str = "") -> dict[str, Any]:
        if isinstance(node, dict) and node:
            return {
                k: v for name, sub in node.items() for k, v in flat(sub, f"{prefix}{name}.").items()
            }
        return {prefix.rstrip("."): node}

    a, b = flat(msgspec.to_builtins(one)), flat(msgspec.to_builtins(other))
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def _override(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CrowdError(f"--set {text}: write it as key.key=value")
    *path, last = key.split(".")
    node = tree
    if path and path[0] not in tree:
        # A section that the file leaves out is the default's, which may be one kind of several.
        default = next((f.default for f in structs.fields(Config) if f.name == path[0]), None)
        if isinstance(default, msgspec.Struct) and default.__struct_config__.tag:
            tree[path[0]] = {"kind": default.__struct_config__.tag}
    for name in path:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise CrowdError(f"--set {text}: '{name}' holds a value, not keys")
    parsed = parse(f"value: {value}", f"--set {text}")
    if len(parsed) > 1:
        raise CrowdError(f"--set {text}: give one value; use --set again for another key")
    node[last] = parsed["value"]
