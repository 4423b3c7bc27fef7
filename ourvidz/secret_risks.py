"""Consequences of a leak of each secret, as data: `ourvidz doctor` shows those of the secrets set here, docs/secrets.md all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Secret:
    """`names`: variables, or a file. `opens`: what its holder can do. `not_opened`: what its holder cannot do. `after`: what to do once it
    may have leaked, in order."""

    names: tuple[str, ...]
    what: str
    opens: str
    not_opened: str
    after: str


SECRETS = (
    Secret(
        ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_KEY"),
        "the project's secret key (legacy: service_role)",
        "all that the API's service_role may: read jobs, projects, pictures and profiles of everybody, write and delete "
        "objects, queue and cancel in any user's name",
        "the ledger, events, roles of the database",
        "create a new secret key (dashboard, Settings → API Keys), set it here, delete the old one. A legacy key: disable both "
        "legacy keys and rotate the JWT secret",
    ),
    Secret(
        ("DATABASE_URL",),
        "a login of the database",
        "what its roles may (`ourvidz logins ls`). ourvidz_executor: the prompts of waiting jobs of its lanes, "
        "claims_per_minute of them, and to fail or give back those; all events and figures. ourvidz_intake: to queue in any "
        "user's name. ourvidz_deliverer: to read and mark messages, and to say that objects are deleted. The owner's: everything",
        "with an executor's: what other executors hold, queueing, messages, deletions, and any prompt that it did not claim",
        "`ourvidz logins password NAME` (a new password, and its sessions end); for an owner's `alter role`. Then `ourvidz audit`, and "
        "`ourvidz jobs ls --status failed`",
    ),
    Secret(
        ("UPSTASH_REDIS_REST_TOKEN",),
        "the token of the Redis that the intake drains",
        "to read the messages that wait there, prompts included, to delete them, and to queue jobs in any verified user's name "
        "within their plan",
        "what is in Postgres already",
        "reset the token in Upstash's console, set it here and in the edge functions' secrets; `ourvidz intake stats` says what came",
    ),
    Secret(
        ("CALLBACK_SECRET",),
        "what messages to job-callback are signed with",
        "to send messages that look like ours: a front end may be shown a wrong status or file",
        "rows of jobs and pictures, which follow events alone",
        "set a new one here and in the edge functions' secrets",
    ),
    Secret(
        ("OURVIDZ_C2PA_KEY",),
        "the key that provenance is signed with",
        "to sign any picture as made by you",
        "the database and the project",
        "have its issuer revoke the certificate, and set another pair (OURVIDZ_C2PA_CERT, OURVIDZ_C2PA_KEY)",
    ),
    Secret(
        ("HF_TOKEN",),
        "the token that downloads gated models",
        "what your account there may read",
        "anything of ours",
        "revoke it at huggingface.co/settings/tokens",
    ),
    Secret(
        ("OURVIDZ_HOME/postgres/pgpass",),
        "passwords of the embedded Postgres",
        "everything in it, for whoever can also pass its socket's folder: the same account, or root",
        "anything from another machine or account: nothing listens on a network",
        "stop everything that uses it and delete the file: the next start makes other passwords",
    ),
    Secret(
        ("OURVIDZ_HOME/dev/keys.json",),
        "keys of the stack for development",
        "everything in that stack, for whoever reaches its ports: programs on the same machine",
        "a project on Supabase",
        "stop it, delete the folder `dev`, start it again",
    ),
)
