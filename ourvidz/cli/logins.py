"""`ourvidz logins`: logins of executors, the intake, deliverers and analysts, with their limits."""

from __future__ import annotations

from typing import Annotated

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import Sections, about

Name = Annotated[str, typer.Argument(metavar="NAME", help="The login.", show_default=False)]
Which = Annotated[str | None, typer.Argument(metavar="[NAME]", help="The login. Without: all of them.", show_default=False)]
Lanes = Annotated[str | None, typer.Option("--lanes", metavar="LANES", help="Lanes its executors may serve: sdxl,wan. Without: all.")]
Roles = Annotated[list[str], typer.Option("--role", metavar="ROLE", help="executor, intake, deliverer or analyst; may be repeated.")]


def add(app: typer.Typer, panel: str) -> None:
    logins = typer.Typer(cls=Sections, rich_markup_mode=None, help="Make, list and repair logins, with their limits.")
    logins.command("ls", **about("ourvidz logins ls", "ourvidz logins ls --json | jq '.[] | select(.lacks != [])'"))(ls)
    one, several = "ourvidz logins add gpu1 --role executor --lanes sdxl", "ourvidz logins add box --role executor --role intake"
    logins.command("add", **about(one, several))(make)
    logins.command("lanes", **about("ourvidz logins lanes gpu1 --lanes sdxl,wan"))(lanes)
    logins.command("password", **about("ourvidz logins password gpu1   # after a leak"))(password)
    logins.command("repair", **about("ourvidz logins repair", "ourvidz logins repair gpu1"))(repair)
    logins.command("drop", **about("ourvidz logins drop gpu1 --yes"))(drop)
    logins.command("url", **about('ourvidz logins url   # psql "$(ourvidz logins url)"'))(url)
    app.add_typer(logins, name="logins", rich_help_panel=panel)


def ls(as_json: options.Json = False) -> None:
    """List the logins that are members of our roles, and what they lack of their limits."""
    from ourvidz import bootstrap
    from ourvidz.db import logins

    found = logins.found(bootstrap.app().database)
    if as_json:
        return out.emit([{"name": login.name, "roles": login.roles, "lacks": login.lacks} for login in found])
    rows = [[out.cell(o.name), out.cell(" ".join(o.roles)), out.cell("; ".join(o.lacks) or "–")] for o in found]
    out.table(("login", "roles", "lacks"), rows)


def make(name: Name, role: Roles, lanes: Lanes = None, as_json: options.Json = False) -> None:
    """Make a login with the limits of its roles, and print its password, which is kept nowhere."""
    from ourvidz import bootstrap
    from ourvidz.db import logins

    _say(name, logins.add(bootstrap.app().database, name, role, _read(lanes)), as_json)


def lanes(name: Name, lanes: Lanes = None, as_json: options.Json = False) -> None:
    """Say which lanes a login's executors may serve from now on."""
    from ourvidz import bootstrap
    from ourvidz.db import logins

    logins.set_lanes(bootstrap.app().database, name, named := _read(lanes))
    if as_json:
        out.emit({"name": name, "lanes": named})


def password(name: Name, as_json: options.Json = False) -> None:
    """Give a login a new password and end its sessions: one who has the old one is out."""
    from ourvidz import bootstrap
    from ourvidz.db import logins

    _say(name, logins.password(bootstrap.app().database, name), as_json)


def repair(name: Which = None, as_json: options.Json = False) -> None:
    """Give logins the limits of their roles again, in place of what was set for them."""
    from ourvidz import bootstrap
    from ourvidz.db import logins

    db = bootstrap.app().database
    names = [name] if name is not None else [login.name for login in logins.found(db) if login.lacks]
    for one in names:
        logins.repair(db, one)
        out.say(f"{one} has its limits.")
    if as_json:
        out.emit({"repaired": names})


def drop(name: Name, yes: options.Yes = False, as_json: options.Json = False) -> None:
    """Remove a login and end its sessions. Jobs of its executors go to others when their leases run out."""
    from ourvidz import bootstrap
    from ourvidz.db import logins

    out.confirm(f"Remove the login {name}?", yes=yes)
    logins.drop(bootstrap.app().database, name)
    if as_json:
        out.emit({"dropped": name})


def url(as_json: options.Json = False) -> None:
    """Print the database's URL, for psql: the embedded one names the file that its password is read from."""
    from ourvidz import bootstrap

    app = bootstrap.app()
    if not app.embedded:
        raise out.Problem("DATABASE_URL is set, and holds a password: it is not printed. Use the variable.", 2)
    if as_json:
        return out.emit({"url": app.database_url})
    print(app.database_url)


def _read(lanes: str | None) -> list[str] | None:
    from state.catalog import LANES

    named = None if lanes is None else [lane.strip() for lane in lanes.split(",") if lane.strip()]
    if unknown := [lane for lane in named or () if lane not in LANES]:
        raise out.Problem(f"--lanes: {unknown[0]!r} is not a lane: {', '.join(LANES)}.", 2)
    return named


def _say(name: str, password: str, as_json: bool) -> None:
    if as_json:
        return out.emit({"name": name, "password": password})
    print(password)
    out.say(f"The password of {name}, printed once and kept nowhere. It goes into DATABASE_URL of the machine that uses it.")
