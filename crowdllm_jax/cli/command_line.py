"""What may be written behind `crowdllm`: each command adds itself."""

import argparse
import os

from crowdllm_jax.cli.commands.aggregate import add_aggregate
from crowdllm_jax.cli.commands.ask import add_ask
from crowdllm_jax.cli.commands.bench import add_bench
from crowdllm_jax.cli.commands.explore import add_explore
from crowdllm_jax.cli.commands.export import add_export
from crowdllm_jax.cli.commands.infer import add_infer
from crowdllm_jax.cli.commands.init import add_init
from crowdllm_jax.cli.commands.plan import add_plan
from crowdllm_jax.cli.commands.population import add_sample, add_twin, add_verify
from crowdllm_jax.cli.commands.reference import add_embed, add_reference
from crowdllm_jax.cli.commands.run import add_evaluate, add_fit, add_report, add_run
from crowdllm_jax.cli.commands.serve import add_serve
from crowdllm_jax.cli.commands.study import add_study
from crowdllm_jax.cli.commands.tune import add_tune
from crowdllm_jax.cli.compiled import cache_folder
from crowdllm_jax.runtime.version import __version__

EPILOG = """\
examples:
  crowdllm init answers.csv                        what a file of answers means, for `run`
  crowdllm run configs/anes96.yaml                 everything, into runs/anes96
  crowdllm study check my_study.yaml               what a study holds, before anything is trained
  crowdllm study fractions configs/anes96.yaml     how few people are enough
  crowdllm reference my_config.yaml --dry-run      what asking a language model would take
  crowdllm sample runs/anes96 --agents 1000000 --out million
  crowdllm aggregate million                       what that crowd decides

compiled programs are kept in {cache}
(JAX_COMPILATION_CACHE_DIR: elsewhere; JAX_ENABLE_COMPILATION_CACHE=false: nowhere)
"""


def parser() -> argparse.ArgumentParser:
    """The command line; parsed arguments hold their command's `handler`."""
    crowdllm = argparse.ArgumentParser(
        prog="crowdllm",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make a digital population from a small sample of human answers, and see how "
        "close it comes to people it was not shown.",
    )
    crowdllm.add_argument("--version", action="version", version=f"crowdllm-jax {__version__}")
    commands = crowdllm.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # The help lists them in this order.
    for add in (
        add_init,
        add_run,
        add_fit,
        add_reference,
        add_embed,
        add_tune,
        add_ask,
        add_sample,
        add_export,
        add_aggregate,
        add_twin,
        add_infer,
        add_plan,
        add_evaluate,
        add_explore,
        add_serve,
        add_report,
        add_verify,
        add_bench,
        add_study,
    ):
        add(commands)
    return crowdllm


def complete() -> None:
    """Answer a shell that asks how a command may go on, and end; else do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser())


def _epilog() -> str:
    try:
        return EPILOG.format(cache=cache_folder())
    except RuntimeError:  # there is no home
        return EPILOG.format(cache="no folder: this user has no home")
