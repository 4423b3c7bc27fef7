"""One stage of training: AdamW over a fixed number of steps, with a checkpoint from which it continues as if it had not stopped.

A step's data and noise must come from its number alone (`random.Random(f"{seed}-{step}")`), or a resumed run would differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP = 100
AVERAGED = 0.998  # decay of the weights' moving average: over some 500 steps
SETTLE = 0.3  # share of the steps at the end over which the rate falls to zero


def options(family: str, about: str | None, steps: dict[str, int], last: str) -> argparse.ArgumentParser:
    """Command line options of a family whose stages are `steps`: name → default number of steps. `--until` applies to the stage `last`."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.teach {family}", description=(about or "").partition("\n")[0])
    parser.add_argument("--state", type=Path, default=Path("build/teach", family), help="folder of the checkpoints (%(default)s)")
    for stage, number in steps.items():
        name = "--steps" if stage == last else f"--{stage}-steps"
        parser.add_argument(name, dest=stage, type=int, default=number, help=f"of stage {stage} (%(default)s)")
    parser.add_argument("--until", type=int, help=f"stop at this step of stage {last}, and write the weights reached by then")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoints in --state")
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments; exits if --state holds checkpoints and --resume was not given."""
    asked = parser.parse_args(arguments)
    if not asked.resume and any(asked.state.glob("*.pt")):
        sys.exit(f"{asked.state} holds checkpoints: give --resume to continue from them, or another --state to begin again")
    return asked


class Training:
    """`modules`: contents of a checkpoint, by name. `rates`: the parameters that learn, in groups, each with its rate."""

    def __init__(self, name: str, modules: Mapping[str, nn.Module], rates: Sequence[tuple[list[nn.Parameter], float]], state: Path) -> None:
        self.name, self.modules, self.file = name, dict(modules), state / f"{name}.pt"
        self.groups = [{"params": parameters, "lr": rate, "most": rate} for parameters, rate in rates]
        self.optimizer = torch.optim.AdamW(self.groups, betas=(0.9, 0.99), weight_decay=1e-4)
        # Key names as of now: an adapter attached to the UNet when it is saved is a separate module here.
        self.kept = {name: list(module.state_dict()) for name, module in modules.items()}
        self.parameters = [p for group in self.groups for p in group["params"]]
        self.average = [p.detach().clone() for p in self.parameters]
        self.step, self.losses = 0, list[float]()
        if self.file.is_file():
            self._resume()

    def run(self, steps: int, loss_of: Callable[[int], Tensor], save_every: float = 180.0, until: int | None = None) -> None:
        """Train up to `steps`, or stop at `until` before. Saves every `save_every` seconds and at the end; the average is then in place.

        The rate rises over the first steps and falls to zero over the last part (`SETTLE`), so a run may be given more steps until then.
        """
        saved = time.monotonic()
        end = min(steps, until or steps)
        while self.step < end:
            rising, falling = (self.step + 1) / WARM_UP, (steps - self.step) / max(1, SETTLE * steps)
            for group in self.optimizer.param_groups:
                group["lr"] = group["most"] * min(1.0, rising, falling)
            loss = loss_of(self.step)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self._take_average()
            self.step += 1
            self.losses.append(float(loss.detach()))
            if self.step % 50 == 0:
                recent = self.losses[-200:]
                print(f"{self.name}: step {self.step} of {steps}, loss {sum(recent) / len(recent):.4f}", flush=True)
            if time.monotonic() - saved > save_every or self.step % 250 == 0:
                self.save()
                saved = time.monotonic()
        self.save()
        self.settle()

    def settle(self) -> None:
        """Replace the last weights with their average, which is what is judged and shipped."""
        with torch.no_grad():
            for parameter, kept in zip(self.parameters, self.average, strict=True):
                parameter.copy_(kept)

    def save(self) -> None:
        told: dict[str, Any] = {
            "step": self.step,
            "losses": self.losses,
            "modules": {name: self._state(name) for name in self.modules},
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }
        aside = self.file.with_suffix(".part")
        torch.save(told, aside)
        aside.replace(self.file)

    def _state(self, name: str) -> dict[str, Tensor]:
        state = self.modules[name].state_dict()
        return {key: state[key] for key in self.kept[name]}

    def _resume(self) -> None:
        told = torch.load(self.file, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict({key: told["modules"][name][key] for key in self.kept[name]})
        most = [group["most"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(told["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, most, strict=True):
            group["most"] = rate
        self.step, self.losses, self.average = told["step"], told["losses"], told["average"]
        print(f"{self.name}: goes on from step {self.step}", flush=True)

    @torch.no_grad()
    def _take_average(self) -> None:
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - min(AVERAGED, self.step / (self.step + 30)))
