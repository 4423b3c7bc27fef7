"""Write a call as a front end does: `start.from_("images").select("*").eq("id", "$image.id").single()` becomes a chain of names and
arguments."""

from __future__ import annotations

from typing import Any


class Call:
    """A chain of steps, each `[name, *arguments]` in the spelling of supabase-js; a trailing underscore only avoids Python's keywords."""

    def __init__(self, steps: tuple[tuple[Any, ...], ...] = ()) -> None:
        self.steps = steps

    def __getattr__(self, name: str) -> Step:
        if name.startswith("__"):
            raise AttributeError(name)
        return Step(self.steps, name.removesuffix("_"))


class Step(Call):
    def __init__(self, before: tuple[tuple[Any, ...], ...], name: str) -> None:
        super().__init__((*before, (name,)))

    def __call__(self, *arguments: Any) -> Call:
        return Call((*self.steps[:-1], (*self.steps[-1], *arguments)))


start = Call()
auth = start.auth
storage = start.storage


def from_(table: str) -> Call:
    return start.from_(table)


def rpc(name: str, **named: Any) -> Call:
    return start.rpc(name, named)


def function(name: str, body: Any) -> Call:
    return start.functions.invoke(name, {"body": body})


def bucket(name: str) -> Call:
    return storage.from_(name)
