"""Both client libraries behind one interface: a call is a chain of methods in supabase-js spelling, as a front end writes it.

Both return `{data, error, count}`, where error is None or `{message, code, status, …}` as the library gives it to its caller.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx
from postgrest.exceptions import APIError
from pydantic import BaseModel
from storage3.exceptions import StorageApiError
from storage3.types import UploadResponse
from supabase_auth import Session
from supabase_auth.errors import AuthError
from supabase_functions.errors import FunctionsError
from supabase_js import SupabaseJs
from waiting import LIMIT

from ourvidz.dev.parts import Parts
from supabase import Client, ClientOptions, create_client

Chain = Sequence[Sequence[Any]]
Answer = dict[str, Any]


class Driver(Protocol):
    name: str

    def open(self, name: str, url: str, key: str, token: str | None = None) -> None:
        """Create a client under that name, as a page does with `createClient(url, key)`. It acts as the key's role until it signs in; with
        `token`, as that token's user."""

    def call(self, client: str, chain: Chain) -> Answer: ...

    def close(self) -> None: ...


OPEN = "kept[given.name] = connect(given.key, given.token ? { accessToken: () => Promise.resolve(given.token) } : {})"
# A Blob stands for a file. The body of an edge function's error response must be read explicitly.
CALL = """
const argument = (value) =>
  value?.file64 === undefined ? value : new Blob([Uint8Array.from(atob(value.file64), (c) => c.charCodeAt(0))], { type: value.type });
let it = kept[given.client];
for (const [name, ...rest] of given.chain) it = typeof it[name] === "function" ? it[name](...rest.map(argument)) : it[name];
const { data, error, status, count } = await it;
if (!error) return { data: data instanceof Blob ? { bytes: data.size } : data ?? null, count: count ?? null, error: null };
const refused = { message: error.message, code: error.statusCode ?? error.code ?? null, details: error.details ?? null,
                  status: error.status ?? status ?? null };
if (error.context instanceof Response) {
  const text = await error.context.text();
  Object.assign(refused, { status: error.context.status, body: text.startsWith("{") ? JSON.parse(text) : text });
}
return { data: null, count: null, error: refused };
"""


class JavaScript:
    """supabase-js in one long-lived Deno process."""

    name = "supabase-js"

    def __init__(self, parts: Parts, url: str, key: str, folder: Path) -> None:
        self._js = SupabaseJs(parts, url, key, folder)

    def open(self, name: str, url: str, key: str, token: str | None = None) -> None:
        self._js(OPEN, name=name, key=key, token=token)

    def call(self, client: str, chain: Chain) -> Answer:
        found: Answer = self._js(CALL, client=client, chain=[[*step] for step in chain])
        return found

    def close(self) -> None:
        self._js.__exit__(None, None, None)


class Python:
    """supabase-py in this process."""

    name = "supabase-py"

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def open(self, name: str, url: str, key: str, token: str | None = None) -> None:
        options = ClientOptions(
            persist_session=False, auto_refresh_token=False, postgrest_client_timeout=LIMIT, storage_client_timeout=LIMIT
        )
        if token:
            options.headers = {**options.headers, "Authorization": f"Bearer {token}"}
        self._clients[name] = create_client(url, key, options)

    def call(self, client: str, chain: Chain) -> Answer:
        it: Any = self._clients[client]
        try:
            names = [step[0] for step in chain]
            for step in chain:
                if step[0] == "single" and not hasattr(it, "single"):  # after a write: the caller takes the answer's only row
                    found = _answer(it.execute())
                    (found["data"],) = found["data"]
                    return found
                it = _step(it, *step, quiet="select" not in names)
            found = _answer(it.execute() if hasattr(it, "execute") else it)
            return found if names[-1] != "getSession" or found["data"] else {**found, "data": {"session": None}}
        except APIError as error:
            return _refused(error.message, code=error.code, details=error.details)
        except StorageApiError as error:
            return _refused(error.message, code=str(error.status), status=error.status)
        except FunctionsError as error:
            response: httpx.Response | None = getattr(error.__cause__, "response", None)
            return _refused(error.message, status=error.status, body=_json(response.text) if response is not None else None)
        except AuthError as error:
            return _refused(error.message, code=error.code, status=getattr(error, "status", None))

    def close(self) -> None:
        self._clients.clear()


# supabase-py's names and arguments that differ from supabase-js's, by method.
NAMES = {"from": "from_", "in": "in_", "or": "or_", "is": "is_", "not": "not_"}


def _step(it: Any, name: str, *given: Any, quiet: bool) -> Any:
    arguments = [base64.b64decode(a["file64"]) if isinstance(a, dict) and "file64" in a else a for a in given]
    method = NAMES.get(name) or re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m[1].lower(), name)
    # supabase-js returns written rows only with .select(), supabase-py unless told otherwise.
    options: dict[str, Any] = {"returning": "minimal"} if quiet and name in ("insert", "update", "upsert", "delete") else {}
    if arguments and isinstance(arguments[-1], dict):
        match name:
            case "select" | "upsert" if len(arguments) == 2:
                options |= {{"onConflict": "on_conflict"}.get(k, k): v for k, v in arguments.pop().items()}
            case "order":
                options |= {"desc": not arguments.pop().get("ascending", True)}
            case "invoke":
                arguments[-1] = {"responseType": "json", **arguments[-1]}
            case "upload":
                given_options = arguments.pop()
                arguments.append({"content-type": given_options["contentType"], "upsert": str(given_options.get("upsert", False)).lower()})
    found = getattr(it, method)
    return found(*arguments, **options) if callable(found) else found


def _answer(found: Any) -> Answer:
    if found is None:
        return {"data": None, "error": None, "count": None}
    if isinstance(found, bytes):
        return {"data": {"bytes": len(found)}, "error": None, "count": None}
    data, count = getattr(found, "data", found), getattr(found, "count", None)
    if isinstance(found, Session):
        data = {"session": json.loads(found.model_dump_json())}
    elif isinstance(found, BaseModel) and not hasattr(found, "data"):  # from auth
        data = json.loads(found.model_dump_json())
    elif isinstance(found, UploadResponse):
        data = {"path": found.path}
    return {"data": data, "error": None, "count": count}


def _refused(message: str | None, **more: Any) -> Answer:
    return {"data": None, "count": None, "error": {"message": message, **more}}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
