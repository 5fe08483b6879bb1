"""People in many dimensions: single answers of persons, beside strong rivals.

    python benchmarks/quality/persons.py movielens FOLDER [--folds 5] [--json FILE]
    python benchmarks/quality/persons.py bfi [--folds 5]
    python benchmarks/quality/persons.py choices [--folds 5]
    python benchmarks/quality/persons.py twin2k FOLDER
    python benchmarks/quality/persons.py twin_llm FOLDER
    python benchmarks/quality/persons.py opinionqa FOLDER
    python benchmarks/quality/persons.py offensiveness FOLDER

    movielens  80% of everybody's ratings known (folds of the answers): RMSE of the others; people
               whom a fit has not seen, by 5, 10 and 20 of their ratings; and agents
    bfi        a fifth of the people are tested: three items of each Big Five trait are known, the
               other two asked (another draw each fold); and agents
    choices    a fifth of the answers is left out (another one each fold), of a simulated quiz and
               of the Big Five's items, taken for choices without an order
    twin2k     35% of people known whole, 60% by 40% of their answers, 5% by attributes alone; and
               agents
    twin_llm   a fifth of the people are tested, each question given their other answers and what
               LLMs answered for them; and questions that nobody answered (folds of questions)
    opinionqa  published shares: a tenth of the questions is held out in turn (--folds 10 holds out
               all); Wasserstein-1 with options equally spaced on [0, 1], refusals left out. A
               log-linear pool of the LLMs and of the words of the options is a rival, and cross-
               fitted a further reference
    offensiveness  agents

*Agents* are of half of the people, measured beside the other half: how they differ, and how their
answers hang together (another half each fold).

What rivals are is in `person_rivals.py`. Settings of the persistent model are those of --latent and
--steps for all sets.
"""

import argparse
from pathlib import Path

from persons_agents import offensiveness
from persons_answers import big_five, choices, gems, movielens
from persons_fit import Settings
from persons_llm import llm_twins, toplines
from table import write

SETS = {
    "movielens": movielens,
    "bfi": big_five,
    "choices": choices,
    "twin2k": gems,
    "twin_llm": llm_twins,
    "opinionqa": toplines,
    "offensiveness": offensiveness,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=SETS)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--latent", type=int, help="by default the model's own choice")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    settings = Settings(args.latent, args.steps, args.folds, args.folder)
    tables = list(SETS[args.set](settings))
    for table in tables:
        print(table.markdown())
    write(tables, args.json)


if __name__ == "__main__":
    main()
