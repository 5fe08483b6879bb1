"""What to do about a finding, given how the crowd was made: never what the run already does."""

from crowdllm_jax.model.crowd import ModelConfig
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.model.persistent.config import PersistentConfig


def advice(finding: str, model: ModelConfig, prepared: Prepared) -> str:
    """Advice for a finding, by its name, of a crowd that `model` made from `prepared`."""
    match finding:
        case "too few to tell":
            held_out = prepared.split.by
            if prepared.split.folds > 1:
                return f"ask more: all {held_out} there are were held out, fold by fold"
            return (
                f"split.folds: 5 (and no split.test) holds out all {held_out}, fold by fold; "
                "or ask more"
            )
        case "belief and task do not fit":
            if isinstance(model, CvaeConfig) and model.constant_reference:
                return "model.constant_reference: false lets the model see the reference"
            leave = ", or leave the attribute out that does not belong" if prepared.codings else ""
            return (
                "look at these tasks in the report; give them a reference of their own "
                f"(reference.kind, now {_kind(prepared)}), split the study by kind of task" + leave
            )
        case "reference off the options":
            return (
                "look at the prompts (`crowdllm reference --show 2`): do they list the options and "
                "ask for one of them? Or take a model that follows instructions"
            )
        case "reference without signal":
            trusts = "" if isinstance(model, PersistentConfig) else ", which this model trusts"
            tune = {
                "backbone": "tune it on people's answers (`crowdllm tune`), ",
                "tuned": "tune it on more tasks, ",
            }.get(prepared.reference.kind, "")
            return (
                f"do without it (reference.kind: marginal){trusts}, {tune}take a larger model or "
                "another prompt, or let its hidden states speak (`crowdllm embed --model`, then "
                "reference.kind: fitted)"
            )
        case "sources that bring nothing":
            return "leave one out of study.tasks (or of reference.answers), then look again"
        case "attributes without a signal":
            return (
                "leave them out of participants.profile, or keep them knowing that the crowd's "
                "groups will not differ along them; more people would tell smaller differences"
            )
    match model:
        case PersistentConfig():
            return _of_persistent(finding, model)
        case CvaeConfig():
            return _of_published(finding, model)


def _kind(prepared: Prepared) -> str:
    """The reference's kind, as the configuration has it."""
    kind = prepared.reference.kind
    return "backbone, tuned" if kind == "tuned" else kind


def _of_persistent(finding: str, model: PersistentConfig) -> str:
    longer = f"train longer (model.steps, now {model.steps})"
    match finding:
        case "homogeneous crowd" | "incoherent answers":
            return (
                f"the model learns the spread from the training people: {longer}, ask more people, "
                "or see whether those held out differ from the others (another seed)"
            )
        case "interchangeable agents":
            return (
                "the training people's answers did not show how people differ: "
                f"{longer} or ask more people, of each more answers. Do not read correlations "
                "between tasks off this crowd"
            )
        case "collapsed latent":
            return (
                f"{longer}; if it stays, the training people's answers do not show that people "
                "differ: ask more of them, or each more"
            )
        case "drift":
            return (
                "agents have one belief for the whole session, so what differs between its halves "
                "is what they ask: dimensions that tasks share are missed; give model.latent "
                f"another number (now {model.latent or 'chosen by answers'}) and look at the "
                "correlation error"
            )
    raise ValueError(f"there is no finding '{finding}'")


def _of_published(finding: str, model: CvaeConfig) -> str:
    other = "use model.kind: persistent"
    match finding:
        case "homogeneous crowd":
            return (
                f"raise model.diversity (now {model.diversity:g}; validation answers choose it), "
                f"or {other}, which learns the spread from the data"
            )
        case "incoherent answers":
            noise = {"diversity": model.diversity, "noise_scale": model.noise_scale}
            lower = [f"lower model.{name} (now {now:g})" for name, now in noise.items() if now]
            return " or ".join([*lower, other])
        case "interchangeable agents":
            return (
                f"{other}, which gives every agent one belief for all tasks; the published model "
                "draws a new one for every answer. Do not read correlations between tasks off "
                "this crowd"
            )
        case "collapsed latent":
            kl = f"lower model.loss.kl (now {model.loss.kl:g}), " if model.loss.kl else ""
            return f"{kl}train longer (train.epochs), or {other}"
        case "drift":
            return f"{other}, whose agents have one belief for the whole session"
    raise ValueError(f"there is no finding '{finding}'")
