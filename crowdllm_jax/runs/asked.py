"""What is said of new questions: their features and references, as the run's own tasks have them.

A question becomes a task of the run that nobody answered. Where it is placed follows from the run's
own kind of reference, and from the features the run has of its tasks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, kind
from crowdllm_jax.model.persistent.asked import lengthened, placed_anywhere, stretched, trusts
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import Design, make_design
from crowdllm_jax.model.persistent.layout import layout_of
from crowdllm_jax.model.persistent.told import options_told
from crowdllm_jax.reference.backbone import BackboneReference
from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.reference.fitted import FittedReference, as_trained
from crowdllm_jax.reference.make import (
    AskedReference,
    ReferenceConfig,
    ask_reference,
    make_reference,
)
from crowdllm_jax.reference.marginal import MarginalReference
from crowdllm_jax.reference.pooled import PooledReference, pool_questions, pool_references
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.reference.task_embeddings import Embedder, embed_texts, embedder_of
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study import scales
from crowdllm_jax.study.alternatives import Options, behind, codings_of, only_tasks, options_of
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.file_kind import is_parquet
from crowdllm_jax.study.question_tables import read_attributes
from crowdllm_jax.study.questions import Questions, joined
from crowdllm_jax.study.records import Attribute, Study, Tasks
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.spec import EmbeddingSpec, StudySpec
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import ends, unit
from crowdllm_jax.study.tables import AbsentColumnError, read_vectors

ALIKE = 0.02
"""How far (as a share of its length) a vector may be from that of the same text in the run."""


@dataclass(frozen=True)
class Sources:
    """What a user gives of the questions beside their texts.

    Attributes:
      table: a table of them, perhaps with their vectors, attributes or reference answers.
      embedder: what turns their texts into vectors; None takes what the run's table was made with.
      kept: the reference that the crowd was fitted with, where it is kept.
      answered: ids of those to which some answers are known, so that nothing else need be.
    """

    table: Path | None = None
    embedder: Embedder | None = None
    answered: frozenset[str] = frozenset()
    kept: Reference | None = None


@dataclass(frozen=True)
class Placed:
    """A crowd that also answers the questions, as its last tasks.

    Attributes:
      study: with the questions behind its tasks.
      how: of each question, where its place comes from, for people.
      options: what describes the questions' options, as the model codes it, on their own scales;
        None where nothing does.
      said: by question, what references say (K,) of its options, as far as they are trusted: of
        those without an order that the run has not.
    """

    crowd: Crowd
    study: Study
    how: tuple[str, ...]
    options: Options | None = None
    said: Mapping[int, np.ndarray] = field(default_factory=dict)


def place(
    crowd: Crowd,
    study: Study,
    split: Split,
    config: Config,
    questions: Questions,
    given: Sources,
    progress: Progress,
) -> Placed:
    """Give questions to a fitted crowd as tasks that nobody answered.

    Args:
      study, split: what the crowd was fitted to.
    Raises:
      CrowdError: the crowd cannot be asked, or nothing says where a question stands.
    """
    check_askable(crowd, questions)
    assert isinstance(crowd.config, PersistentConfig)
    study = as_trained(study, split)
    spec = config.study if isinstance(config.study, StudySpec) else None
    vectors, from_where = _vectors(study, spec, questions, given, progress)
    attributes = _attributes(study, spec, questions, given)
    longer = joined(study, questions, attributes, vectors)
    if questions.alternatives is not None:
        for i in np.unique(questions.alternatives.task):
            from_where[i] = f"{from_where[i]}, what describes its options".removeprefix(", ")
    # Attributes place a question only where texts are not known by vectors, too.
    by_attributes = bool(attributes) and study.tasks.embedding is None
    unplaced = [i for i, text in enumerate(from_where) if not (text or by_attributes)]
    if attributes:
        from_where = [f"{text}, task attributes".removeprefix(", ") for text in from_where]
    # Any other reference says something of every question, or is refused.
    silent = all(isinstance(r, FittedReference | MarginalReference) for r in config.references)
    if silent and (unknown := [i for i in unplaced if questions.ids[i] not in given.answered]):
        raise CrowdError(_nothing_said(questions.text[unknown[0]], study, config))
    # What is kept is of the first.
    sources = [given] + [dataclasses.replace(given, kept=None)] * (len(config.references) - 1)
    every = [
        _reference(study, longer, split, one, spec, questions, own, progress)
        for one, own in zip(config.references, sources, strict=True)
    ]
    first, *others = (one.of_all for one in every)
    reference = dataclasses.replace(first, others=tuple(others))
    how = " and ".join(dict.fromkeys(one.how for one in every if one.how))
    if study.tasks.embedding is None and reference.embedding is not None:
        states = reference.embedding - reference.embedding[longer.tasks.measured].mean(0)
        tasks = dataclasses.replace(longer.tasks, embedding=states)
        longer = dataclasses.replace(longer, tasks=tasks)
    known = split.by != "tasks"
    design = make_design(longer, reference, crowd.codings, split.seen, crowd.config, known=known)
    longer_crowd = lengthened(crowd, design, longer.tasks.ids)
    if unplaced and (silent or study.tasks.blocks):
        rows = np.array(unplaced) + study.tasks.base
        longer_crowd = placed_anywhere(longer_crowd, rows)
    told = tuple(" and ".join(filter(None, (text, how))) for text in from_where)
    of_questions = [one.of_questions for one in every]
    said = _said(longer_crowd, study, questions, of_questions)
    return Placed(longer_crowd, longer, told, _options(study, split, questions), said)


def _said(
    crowd: Crowd,
    study: Study,
    questions: Questions,
    references: Sequence[Reference | None],
) -> dict[int, np.ndarray]:
    """What references say, as far as they are trusted, of options without an order that the run has
    not: there they are read by themselves, and not beside the lender's tasks."""
    in_order = tuple(study.scales.values())
    unheard = [
        i
        for i, scale in enumerate(questions.task_scales)
        if not scales.is_ordered(scale) and scale != in_order[questions.lender[i]]
    ]
    if not unheard or all(one is None or one.probs is None for one in references):
        return {}
    trust = trusts(crowd)[study.tasks.base :]
    return {
        i: options_told(references, i, scales.size(questions.task_scales[i]), trust.shape[1])
        @ trust[i]
        for i in unheard
    }


def _attributes(
    study: Study, spec: StudySpec | None, questions: Questions, given: Sources
) -> tuple[Attribute, ...]:
    """The attributes that the study has of its tasks, of the questions."""
    if not study.tasks.attributes:
        return ()
    if spec is None:
        raise CrowdError("ask: the crowd knows its tasks by attributes, and has no table's")
    return read_attributes(given.table, spec, questions.ids)


def _options(study: Study, split: Split, questions: Questions) -> Options | None:
    """What describes the questions' options, coded as those of the run's tasks are."""
    known, new = study.tasks.alternatives, questions.alternatives
    if known is None or new is None:
        return None
    seen = np.isin(np.arange(len(study.tasks.ids)), study.task[split.seen])
    # In the levels of the run's attributes: those of both, without the former.
    both = behind(known, new, len(seen), questions.ids)
    coded = options_of(
        only_tasks(both, np.arange(len(seen) + len(questions.ids)) >= len(seen)),
        codings_of(known, seen),
        len(seen) + len(questions.ids),
        layout_of(questions.scales, questions.scale).levels,
    )
    return Options(*(part[len(seen) :] for part in coded))


def check_askable(crowd: Crowd, questions: Questions) -> None:
    """Raise CrowdError if a crowd's agents cannot be asked such questions."""
    if not isinstance(crowd.config, PersistentConfig):
        raise CrowdError(
            f"ask: agents of the {kind(crowd.config)} model are nobody in particular, so nobody is "
            "there to be asked again; fit a run with model.kind: persistent"
        )
    if isinstance(crowd.inputs, Design) and crowd.inputs.witnesses is not None:
        raise CrowdError(
            "ask: the run knows people by witnesses (study.witnesses), who have said nothing of "
            "new questions; ask a run without"
        )
    for name, scale in zip(questions.ids, questions.task_scales, strict=True):
        if scales.is_joint(scale):
            raise CrowdError(
                f"ask: '{name}' would stand on a {scales.kind(scale)} ballot, where what is given "
                "to one project depends on all others; ask it on a scale of its own, such as "
                "--options no,yes"
            )


def _nothing_said(text: str, study: Study, config: Config) -> str:
    reference = config.first_reference.__struct_config__.tag
    why = (
        "the run knows its tasks by an embedding of their texts, and that of this one is not there"
        if study.tasks.embedding is not None
        else f"the run has no features of its tasks, and its reference ({reference}) is an "
        "average of their answers"
    )
    remedy = (
        "name the model that embeds them (--embedder MODEL), or give the vectors as a column of "
        "--tasks FILE"
        if study.tasks.embedding is not None
        else "or make a run whose reference reads texts (docs/reference.md)"
    )
    return (
        f"ask: nothing says how people would answer '{text}': {why}. Give some people's answers "
        f"(--answers FILE) or known shares (--shares 20,30,50), or {remedy.removeprefix('or ')}"
    )


def _vectors(
    study: Study,
    spec: StudySpec | None,
    questions: Questions,
    given: Sources,
    progress: Progress,
) -> tuple[np.ndarray | None, list[str]]:
    """(A, F) vectors of the questions, and where each comes from ("" of those that have none, which
    get the tasks' average)."""
    count = len(questions.ids)
    if study.tasks.embedding is None or not study.tasks.blocks or spec is None:
        if study.tasks.embedding is None:
            return None, [""] * count
        average = study.tasks.embedding.mean(0)
        return np.tile(average, (count, 1)), [""] * count
    tables = spec.tasks.embedding or ()
    tables = (tables,) if isinstance(tables, EmbeddingSpec) else tables
    vectors = np.tile(study.tasks.embedding.mean(0), (count, 1)).astype(np.float32)
    from_where: list[list[str]] = [[] for _ in range(count)]
    for block in study.tasks.blocks:
        table = tables[block.table]
        column = table.column if isinstance(table.column, str) else block.name.rpartition("/")[2]
        part = slice(block.begin, block.end)
        lacking = np.ones(count, bool)
        path = Path(spec.folder) / table.path
        for name, file in (("the table of questions", given.table), ("the run's table", path)):
            for i, vector in _rows_of(file, table.task, column, questions.ids).items():
                if lacking[i]:
                    vectors[i, part] = vector
                    from_where[i].append(f"vector in {name}")
                    lacking[i] = False
        embedder = given.embedder or embedder_of(path)
        if lacking.any() and embedder is not None:
            rows = np.flatnonzero(lacking)
            vectors[rows, part] = _embedded(
                study, part, embedder, column, questions, rows, progress
            )
            for i in rows.tolist():
                from_where[i].append(f"text embedded by {Path(embedder.model).name}")
    whole = len(study.tasks.blocks)
    return vectors, [
        ", ".join(dict.fromkeys(one)) if len(one) == whole else "" for one in from_where
    ]


def _rows_of(file: Path | None, key: str, column: str, ids: Sequence[str]) -> dict[int, np.ndarray]:
    """The vectors that a table has of some ids, by their place among these."""
    if file is None or not file.is_file():
        return {}
    if not is_parquet(file):
        # A CSV of questions holds no vectors.
        return {}
    try:
        names, vectors = read_vectors(file, key, column)
    except AbsentColumnError:
        return {}
    at = {name: i for i, name in enumerate(names.distinct)}
    first = {int(code): row for row, code in reversed(list(enumerate(names.codes)))}
    found = {i: first[at[name]] for i, name in enumerate(ids) if name in at}
    for i, row in found.items():
        own = np.flatnonzero(names.codes == names.codes[row])
        if len(odd := own[(vectors[own] != vectors[row]).any(1)]):
            raise CrowdError(
                f"{file}, column '{column}': question '{ids[i]}' has other numbers in row "
                f"{odd[0] + 1} than in row {row + 1}; make them agree"
            )
    return {i: vectors[row] for i, row in found.items()}


def _embedded(
    study: Study,
    part: slice,
    embedder: Embedder,
    column: str,
    questions: Questions,
    rows: np.ndarray,
    progress: Progress,
) -> np.ndarray:
    """Vectors of the questions' texts by the model that made the run's.

    Two texts of the run are embedded, too. A decoder's table holds differences from an average that
    only the table knows; the first text tells it, and the second whether all is as it was.
    """
    assert study.tasks.embedding is not None
    known = [0, len(study.tasks.ids) // 2]
    texts = [study.tasks.text[i] for i in known] + [questions.text[i] for i in rows]
    columns, _ = embed_texts(embedder, texts, centre=np.zeros(1, np.float32), progress=progress)
    found = columns.get(column, next(iter(columns.values())))
    kept = study.tasks.embedding[known, part]
    if found.shape[1] != kept.shape[1]:
        raise CrowdError(_other_model(embedder.model, f"{found.shape[1]} numbers a text"))
    length = np.linalg.norm(kept, axis=1).max()
    gap = found[:2] - kept
    shift = gap[0] if np.linalg.norm(gap[0]) > ALIKE * length else np.zeros_like(gap[0])
    off = float(np.linalg.norm(gap[1] - shift) / length)
    if off > ALIKE:
        told = f"a text of the run comes out {off:.0%} of its length away from where it was"
        raise CrowdError(_other_model(embedder.model, told))
    return found[2:] - shift


def _other_model(model: str, how: str) -> str:
    return (
        f"ask: {model} is not the model that the run's texts were embedded with ({how}); name that "
        "one with --embedder MODEL"
    )


class _Asked(NamedTuple):
    """A reference of a run's tasks and of questions.

    Attributes:
      of_all: these on their lenders' scales. of_questions: on their own; None of a reference that
        is learnt scale by scale. how: what that is based on beside features.
    """

    of_all: Reference
    of_questions: Reference | None = None
    how: str = ""


def _reference(
    study: Study,
    longer: Study,
    split: Split,
    config: ReferenceConfig,
    spec: StudySpec | None,
    questions: Questions,
    given: Sources,
    progress: Progress,
) -> _Asked:
    """What the reference says, of all tasks and of the questions alone."""
    folder = "." if spec is None else spec.folder
    match config:
        case FittedReference(answers=None):
            return _Asked(make_reference(longer, split, config, folder, progress, given.kept))
        case MarginalReference():
            return _Asked(make_reference(longer, split, config, folder, progress))
        case FittedReference():
            raise CrowdError(
                "ask: the run's reference is fitted to a language model's answers "
                "(reference.answers), which new questions do not have; ask a run without"
            )
        case PooledReference():
            asked = _by_themselves(study, questions)
            answers = [_answers(asked, one, spec, given, progress) for one in config.of]
            models = [make_reference(study, split, one, folder, progress) for one in config.of]
            base = given.kept or pool_references(study, split, config, models)
            new = pool_questions(study, split, base, models, asked, [said for said, _ in answers])
            how = " and ".join(
                dict.fromkeys(["the options' words", *(told for _, told in answers)])
            )
        case _:
            new, how = _answers(_by_themselves(study, questions), config, spec, given, progress)
            base = make_reference(study, split, config, folder, progress)
    return _Asked(_both(study, longer, base, new, questions), new, how)


def _answers(
    asked: Study,
    config: ColumnReference | AskedReference,
    spec: StudySpec | None,
    given: Sources,
    progress: Progress,
) -> tuple[Reference, str]:
    """A model's answers to the questions, and where they come from."""
    match config:
        case ColumnReference() as column:
            if given.table is None:
                raise CrowdError(
                    "ask: the run's references are answers that stand in a table (reference.kind: "
                    "column); give the questions with theirs, in the same columns (--tasks FILE)"
                )
            own = msgspec.structs.replace(column, path=str(given.table.absolute()))
            # The table of questions is written as the study's are, whatever the run's own
            # table of references is.
            dialect = Dialect() if spec is None else spec.later_dialect()
            folder = "." if spec is None else spec.folder
            return from_column(asked, own, folder, dialect), f"answers in {given.table.name}"
        case BackboneReference(tune=TuneConfig()):
            raise CrowdError(
                "ask: the run's reference is a tuned model, whose adapters belong to the study's "
                "own tasks; ask a run without reference.tune"
            )
        case _:
            model = getattr(config, "model", config.__struct_config__.tag)
            told = f"asked {as_shown(Path(str(model)).name)}"
            return ask_reference(asked, config, (), progress)[0], told


def _by_themselves(study: Study, questions: Questions) -> Study:
    """The questions as a study without answers."""
    tasks = Tasks(questions.ids, questions.text, questions.scale, (), None)
    nothing = np.zeros(0, np.int32)
    return Study(
        study.name,
        questions.scales,
        tasks,
        study.participants,
        nothing,
        nothing,
        np.zeros(0),
    )


def _both(
    study: Study, longer: Study, base: Reference, new: Reference, questions: Questions
) -> Reference:
    """References of the run's tasks and of the questions, these on their lenders' scales."""
    t = len(study.tasks.ids)
    share = unit(_by_themselves(study, questions), new.mean, np.arange(len(questions.ids)))
    low, width = (part[t:] for part in ends(longer))
    probs = None
    if base.probs is not None:
        rows = [
            _lent(new.probs, i, scale, longer.scale_of(t + i), base.probs)
            for i, scale in enumerate(questions.task_scales)
        ]
        probs = np.concatenate([base.probs, np.stack(rows)])

    def behind(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
        if first is None:
            return None
        if second is None:
            second = np.tile(first.mean(0), (len(questions.ids), *[1] * (first.ndim - 1)))
        return np.concatenate([first, second])

    return Reference(
        base.kind,
        np.concatenate([base.mean, low + width * share]),
        probs,
        behind(base.mass, new.mass),
        behind(base.embedding, new.embedding),
        behind(base.order, new.order),
        new.spent,
    )


def _lent(
    probs: np.ndarray | None, row: int, scale: Scale, lent: Scale, known: np.ndarray
) -> np.ndarray:
    """(K,) one question's probabilities of the lender's levels; the tasks' average where there are
    none, or the levels are not these and have no order."""
    k, size = scales.size(lent), scales.size(scale)
    if probs is None or (scale != lent and not scales.is_ordered(scale)):
        average: np.ndarray = known.mean(0)
        return average
    row_of = np.zeros(known.shape[1])
    if k == size:
        row_of[:k] = probs[row, :size]
        return row_of
    below = probs[row, :size].cumsum()[:-1].clip(1e-3, 1 - 1e-3)
    cut = np.asarray(stretched(np.log(below) - np.log1p(-below), k), np.float64)
    row_of[:k] = np.diff(np.concatenate([[0.0], 1 / (1 + np.exp(-cut)), [1.0]]))
    return row_of
