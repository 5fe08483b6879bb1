"""What options are worth, of simulated people whose part-worths are known.

    python benchmarks/quality/worths.py [--studies 5] [--people 200] [--sets 10] [--apart 0.6]

People choose among three phones of different brands and prices, and none. What a brand and the
price are worth differs between people (normally; --apart is the deviation of a brand's worth). The
table compares what a crowd finds, and a mixed logit of xlogit, with what people were made of; and
the crowd's shares of markets that nobody saw with those of 200,000 such people. Needs pip install
'.[benchmarks]'.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from persons_fit import Shown, tell

import crowdllm_jax as cl

BRANDS, WORTH, NONE = ("Acme", "Bolt", "Core"), np.array([0.8, 0.0, -0.8]), -1.6
PRICE, PRICE_APART, NONE_APART = -0.04, 0.015, 0.5
MARKETS = (
    ((12, "Acme"), (22, "Bolt")),
    ((35, "Acme"), (15, "Core")),
    ((25, "Acme"), (25, "Bolt"), (25, "Core")),
    ((10, "Core"), (40, "Acme")),
)
NOTHING = 4
"""Which option of a set is none of these."""


class People(NamedTuple):
    """What N people pay for a unit of price (N,), each brand (N, 3), and none of the options."""

    price: np.ndarray
    brand: np.ndarray
    none: np.ndarray

    def utility(self, price: np.ndarray, brand: np.ndarray) -> np.ndarray:
        """(N, K + 1) of options whose prices and brands are (N, K)."""
        own = self.price[:, None] * price + np.take_along_axis(self.brand, brand, 1)
        return np.concatenate([own, self.none[:, None]], axis=1)


def people_of(random: np.random.Generator, count: int, apart: float) -> People:
    return People(
        random.normal(PRICE, PRICE_APART, count),
        WORTH + apart * random.normal(size=(count, 3)),
        random.normal(NONE, NONE_APART, count),
    )


def choices(random: np.random.Generator, people: People, sets: int) -> pd.DataFrame:
    """A row for every option of every set, as tools export them."""
    count, rows = len(people.price), []
    for number in range(sets):
        price = random.choice([10.0, 20.0, 30.0, 40.0], (count, 3))
        brand = np.array([random.permutation(3) for _ in range(count)])
        utility = people.utility(price, brand)
        chosen = (utility + random.gumbel(size=utility.shape)).argmax(1)
        for person in range(count):
            key = f"r{person:04d}", number + 1
            for k in range(3):
                told = price[person, k], BRANDS[brand[person, k]]
                rows.append((*key, k + 1, *told, int(chosen[person] == k)))
            rows.append((*key, NOTHING, np.nan, "", int(chosen[person] == 3)))
    table = pd.DataFrame(rows, columns=["resp_id", "task", "alt", "price", "brand", "choice"])
    return table.sort_values(["resp_id", "task", "alt"], ignore_index=True)


def mixed(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(4,) worths of price and the brands by a mixed logit, and (4,) how far people differ."""
    from xlogit import MixedLogit

    effect = {f"is {b}": (table.brand == b).astype(float) for b in BRANDS[:2]}
    last = (table.brand == BRANDS[2]).astype(float)
    columns = {"price": table.price.fillna(0.0) / 10} | {n: x - last for n, x in effect.items()}
    columns["none"] = (table.alt == NOTHING).astype(float)
    names, person = list(columns), pd.factorize(table.resp_id)[0]
    model = MixedLogit()
    model.fit(
        X=np.stack([np.asarray(x) for x in columns.values()], axis=1),
        y=table.choice.to_numpy() == 1,
        varnames=names,
        ids=pd.factorize(table.resp_id + " " + table.task.astype(str))[0],
        alts=table.alt.to_numpy(),
        panels=person,
        randvars=dict.fromkeys(names, "n"),
        n_draws=300,
        verbose=0,
    )
    mean, apart = np.split(np.asarray(model.coeff_), 2)
    worth = np.array([mean[0] / 10, mean[1], mean[2], -mean[1] - mean[2]])
    spread = np.array([apart[0] / 10, apart[1], apart[2], np.hypot(apart[1], apart[2])])
    return worth, np.abs(spread)


def asked(run: tuple, folder: Path) -> pd.DataFrame:
    """The crowd's shares of the markets, with 90% intervals."""
    rows = [
        (f"m{number}", f"o{k}", *option)
        for number, market in enumerate(MARKETS)
        for k, option in enumerate(market)
    ]
    rows += [(f"m{number}", str(NOTHING), None, None) for number in range(len(MARKETS))]
    path = folder / "market.csv"
    pd.DataFrame(rows, columns=["task", "level", "price", "brand"]).to_csv(path, index=False)
    return cl.ask(run, [], cl.Asking(alternatives=path)).to_pandas()


def true_shares(people: People, number: int) -> dict[str, float]:
    market = MARKETS[number]
    price = np.broadcast_to([p for p, _ in market], (len(people.price), len(market)))
    brand = np.broadcast_to([BRANDS.index(b) for _, b in market], price.shape)
    utility = people.utility(price, brand)
    rate = np.exp(utility - utility.max(1, keepdims=True))
    names = [*(f"o{k}" for k in range(len(market))), str(NOTHING)]
    return dict(zip(names, (rate / rate.sum(1, keepdims=True)).mean(0), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--apart", type=float, default=0.6)
    given = parser.parse_args()
    worths = Shown(
        "Part-worths of simulated people",
        {"worth": "Acme - Core", "held": "95% intervals hold", "apart": "Spread, Acme"},
    )
    markets = Shown("Markets that nobody saw", {"off": "MAE of shares", "held": "90% hold"})
    # A brand beside the average of the three.
    true = np.concatenate([[PRICE], WORTH])
    worths.add("people", {"worth": 1.6, "apart": given.apart * np.sqrt(2 / 3)})
    many = people_of(np.random.default_rng(0), 200_000, given.apart)
    for seed in range(given.studies):
        tell(f"study {seed}")
        random = np.random.default_rng([seed, 1])
        table = choices(random, people_of(random, given.people, given.apart), given.sets)
        study, config = cl.study(table), cl.load_config({"split": {"by": "answers"}})
        crowd, _ = cl.fit(study, config)
        found = cl.part_worths(crowd, study)
        held = [one.low <= t <= one.high for one, t in zip(found, true, strict=True)]
        apart = {"worth": found[1].worth - found[3].worth, "apart": found[1].spread}
        worths.add("**crowd**", apart | {"held": float(np.mean(held))})
        worth, spread = mixed(table)
        worths.add("mixed logit", {"worth": worth[1] - worth[3], "apart": spread[1]})
        with tempfile.TemporaryDirectory() as folder:
            answers = asked((crowd, study, config), Path(folder))
        shares = [
            true_shares(many, int(row.task_id[1:]))[row.answer] for row in answers.itertuples()
        ]
        inside = (answers.low <= shares) & (shares <= answers.high)
        off = np.abs(answers.share - shares).mean()
        markets.add("**crowd**", {"off": float(off), "held": float(inside.mean())})
    print(worths.markdown(), markets.markdown(), sep="\n")


if __name__ == "__main__":
    main()
