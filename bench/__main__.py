"""Run benchmarks by name, or all of them one after the other.

python -m bench            all of them (minutes); those that need a GPU say so where there is none
python -m bench --list     list them
python -m bench latency executor
"""

from __future__ import annotations

import argparse
import importlib

PARTS = {
    "engine": "jobs a second, with guards, events and chain, against bare SQL",
    "latency": "from a submit to its handler, against a bare LISTEN-and-claim loop",
    "failover": "how long until another executor has the jobs of one that was killed",
    "claims": "a claim beside mountains of other jobs",
    "rls": "a user's list of jobs under row-level security, in a table of 10,000 and of 1,000,000",
    "intake": "messages from Redis, and calls of the edge function, to committed rows, against bare ones",
    "screen": "what the lexical screen costs a submit, and its dearest texts",
    "executor": "whether the device waits; changes of family; how soon a cancel stops it (CPU, tiny models)",
    "gpu": "true-size models on a CUDA device, against the FLOP floor and plain diffusers",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PARTS, []], metavar="name", help=", ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="say what each one measures, and run none")
    asked = parser.parse_args()
    if asked.list:
        for name, what in PARTS.items():
            print(f"{name:10} {what}")
        return
    for name in asked.names or PARTS:
        importlib.import_module(f"bench.{name}").main([])  # imported here: some need torch, and each has the whole machine to itself


if __name__ == "__main__":
    main()
