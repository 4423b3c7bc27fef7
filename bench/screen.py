"""Cost of the lexical screen: a prompt of 300 characters against the rest of a submit, and the most expensive texts of 4,000 characters
against a plain one, in the same run.

    python -m bench.screen [--submits 300]

Aims: the prompt under a millisecond of CPU, and no text more than four times as expensive as the plain one.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from statistics import median

from bench.ground import calm, connect, ground, hands, profile
from bench.report import table
from ourvidz.lifecycle import NewJob
from ourvidz.safety.lexical import LexicalScreen
from ourvidz.safety.rules import TERMS, load_rules

PROMPT = (
    "a portrait of a woman in her thirties in a red evening dress on a rooftop at dusk, city lights behind her, soft rim light, shallow "
    "depth of field, 85mm lens at f/1.8, shot on film, subtle grain, elegant pose, looking over her shoulder, long dark hair moved by the "
    "wind, warm colours, 8k, high detail, editorial, "
)
LENGTH = 4_000


def cpu(screen: LexicalScreen, text: str, times: int = 5) -> float:
    """Milliseconds of CPU, the minimum of `times` tries."""

    def once() -> float:
        begun = time.process_time()
        screen.check(text)
        return (time.process_time() - begun) * 1000

    return min(once() for _ in range(times))


def texts() -> dict[str, str]:
    rules, draw = load_rules(TERMS), random.Random(7)
    classes = sorted(word for word, means in rules.meanings.items() if not any("/" in m for m in means))
    short = [word for word in classes if len(word) < 3]
    units = {
        "single letters": "t e ",
        "leet": "t3e3 ",
        "Chinese": "女性穿黑色蕾丝内衣",
        "Thai": "ผู้หญิงในชุดสีแดง",
        "numbers": "1 ",
        "turned": "ʇǝ ",
    }
    return {
        "plain (a prompt again and again)": PROMPT * 20,
        **{name: unit * LENGTH for name, unit in units.items()},
        "words of patterns": " ".join(draw.choice(classes) for _ in range(LENGTH)),
        "the short ones": " ".join(draw.choice(short) for _ in range(LENGTH)),
        "all letters different": "".join(map(chr, range(0x4E00, 0x4E00 + LENGTH))),
    }


def submits(n: int) -> float:
    """Median milliseconds of a submit without a screen."""
    with ground() as url, connect(url) as connection:
        user, jobs = profile(connection), hands(url)
        connection.execute("update ourvidz.plans set submits_per_minute = 1000000, unfinished = 1000000")
        calm(connection)
        took = []
        for _ in range(n):
            begun = time.perf_counter()
            jobs.submit(NewJob(user_id=user, job_type="sdxl_image_fast", prompt=PROMPT[:300]))
            took.append((time.perf_counter() - begun) * 1000)
        jobs.db.close()
    return median(took)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submits", type=int, default=300)
    asked = parser.parse_args(argv)
    screen = LexicalScreen()
    prompt = (PROMPT * 2)[:300]
    screen.check(prompt)
    one, rest = cpu(screen, prompt, 50), submits(asked.submits)
    table(
        "A prompt of 300 characters",
        ("", "ms", "of a submit"),
        [("screened (CPU)", round(one, 2), round(one / rest, 2)), ("the rest of a submit", round(rest, 2), 1.0)],
    )
    costs = {name: cpu(screen, text[:LENGTH]) for name, text in texts().items()}
    plain = next(iter(costs.values()))
    table(
        "Texts of 4,000 characters",
        ("", "ms of CPU", "× plain"),
        [(name, round(ms, 1), round(ms / plain, 2)) for name, ms in costs.items()],
    )


if __name__ == "__main__":
    main()
