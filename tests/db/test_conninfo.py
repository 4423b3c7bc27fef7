"""DATABASE_URL in the forms people write: what libpq reads, which parameters are dropped, which are refused by name; no refusal repeats
a secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from ourvidz.db import conninfo
from ourvidz.db.connection import Database
from ourvidz.db.conninfo import UnreadableUrl, parameters

READ: list[tuple[str, dict[str, str]]] = [
    ("postgresql://a:1,b:2/db?target_session_attrs=read-write",
     {"host": "a,b", "port": "1,2", "dbname": "db", "target_session_attrs": "read-write"}),
    ("postgresql://u@%2Fvar%2Frun/db", {"user": "u", "host": "/var/run", "dbname": "db"}),
    ("postgresql:///db?host=/var/run&port=5433", {"host": "/var/run", "port": "5433", "dbname": "db"}),
    ("postgresql://u:p@h/db\n", {"user": "u", "password": "p", "host": "h", "dbname": "db"}),
    ("\ufeffpostgres://u@h/db\r\n", {"user": "u", "host": "h", "dbname": "db"}),
    ("'postgresql://u@h/db'", {"user": "u", "host": "h", "dbname": "db"}),
    ('"host=h dbname=db"', {"host": "h", "dbname": "db"}),
    ("postgresql://u:it's \"so\"@h/db", {"user": "u", "password": "it's \"so\"", "host": "h", "dbname": "db"}),
    ("postgresql://u:a?b#c%40%2f@h/db", {"user": "u", "password": "a?b#c@/", "host": "h", "dbname": "db"}),
    ("postgresql+psycopg://u@h/db", {"user": "u", "host": "h", "dbname": "db"}),
    ("postgresql+asyncpg://u@h/db?sslmode=require", {"user": "u", "host": "h", "dbname": "db", "sslmode": "require"}),
    ("postgresql://[2001:db8::1]:6543/db", {"host": "2001:db8::1", "port": "6543", "dbname": "db"}),
    ("host=h user=u password='a b\\'c' dbname=db", {"host": "h", "user": "u", "password": "a b'c", "dbname": "db"}),
    ("host = h  dbname = 'a b'", {"host": "h", "dbname": "a b"}),
    ("service=live passfile=/etc/pgpass", {"service": "live", "passfile": "/etc/pgpass"}),
    ("postgresql://u@h/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
     {"user": "u", "host": "h", "dbname": "db", "sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}),
    ("postgresql://u@h/db?options=endpoint%3Dsmall-lake", {"user": "u", "host": "h", "dbname": "db", "options": "endpoint=small-lake"}),
    ("postgresql://u@h/db?ssl=true", {"user": "u", "host": "h", "dbname": "db", "sslmode": "require"}),
    ("postgresql://h/db?user=u@x&password=p&ssl=true", {"user": "u@x", "password": "p", "host": "h", "dbname": "db", "sslmode": "require"}),
]  # fmt: skip


@pytest.mark.parametrize(("url", "expected"), READ, ids=range(len(READ)))
def test_the_url_is_converted_to_libpq_parameters(url: str, expected: dict[str, str]) -> None:
    assert dict(parameters(url)) == expected
    assert conninfo_to_dict(conninfo.conninfo(url)) == expected, "the pairs made of it say the same"


FOREIGN = (
    ("postgresql://h/db?pgbouncer=true", "pgbouncer"),
    ("postgresql://h/db?schema=app", "schema"),
    ("postgresql://h/db?connection_limit=1&sslmode=require", "connection_limit"),
    ("postgresql://h/db?supa=base-pooler.x", "supa"),
    ("postgresql://h/db?prepareThreshold=0", "prepareThreshold"),
    ("postgresql://h/db?client_encoding=latin1", "client_encoding"),
    ("host=h dbname=db pool_size=5", "pool_size"),
)


@pytest.mark.parametrize(("url", "name"), FOREIGN)
def test_parameters_of_other_programs_are_dropped_with_a_warning(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    parameters.cache_clear()
    conninfo._say.cache_clear()
    with caplog.at_level(logging.WARNING, "ourvidz.db"):
        assert parameters(url)["dbname"] == "db" and name not in parameters(url)
        parameters.cache_clear()
        parameters(url)
    assert [name in record.getMessage() for record in caplog.records] == [True], "said once"


SECRET = "hunter2"
REFUSED = (
    ("postgresql://h/db?statement_timout=5", "'statement_timout'"),
    ("host=h dbname=db foo=bar", "'foo'"),
    ("postgresql://h/db?sslmode", "sslmode in DATABASE_URL has no value"),
    ("postgresql://h/db?sslmode=no-verify", "no-verify is require here"),
    ("postgresql://h/db?target_session_attrs=master", "read-write"),
    ("postgresql://h/db?connect_timeout=10s", "connect_timeout"),
    ("postgresql://h:1,i:2,j:3/db?host=h,i", "2 hosts and 3 ports"),
    (f"postgresql://u:{SECRET}@h:54321x/db", "port"),
    (f"postgresql://u:{SECRET}@ss@h/db", "@ too many"),
    (f"postgresql://u:a/{SECRET}@h/db", "@ too many"),
    (f"postgresql://u:{SECRET}%zz@h/db", "%25"),
    (f"postgresql://u:{SECRET}/{SECRET}", "port"),
    (f"postgresql://u:a@{SECRET}?x=1@h/db", "@ too many"),
    (f"postgresql://u:a/b?{SECRET}@h/db", "inside its password"),
    (f"postgresql://u:a/b?{SECRET}=c@h/db", "inside its password"),
    (f"postgresql://u:a?{SECRET}/b@h/db", "inside its password"),
    (f"postgresql://h/db?password=a&{SECRET}", "inside its password"),
    (f"postgresql://u:{SECRET}\n@h/db", "line break"),
    (f"host=h password=my {SECRET}", "single quotes"),
    (f"host=h password=my {SECRET}=x", "single quotes"),
    (f"host=h password='{SECRET}", "after password"),
    (f"psql 'postgresql://u:{SECRET}@h/db'", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
    (f"mysql://u:{SECRET}@h/db", "mysql://"),
    (f"jdbc:postgresql://h/db?password={SECRET}", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
    (f"//u:{SECRET}@h/db", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("\n", "blank"),
    ("''", "blank"),
)


@pytest.mark.parametrize(("url", "said"), REFUSED)
def test_errors_name_the_parameter_and_no_secret(url: str, said: str) -> None:
    with pytest.raises(UnreadableUrl) as error:
        Database(url)
    assert said in str(error.value) and "DATABASE_URL" in str(error.value)
    chain: BaseException | None = error.value
    while chain is not None:
        assert SECRET not in str(chain)
        chain = None if chain.__suppress_context__ else chain.__context__


def test_keyword_arguments_override_the_url() -> None:
    made: dict[str, Any] = conninfo_to_dict(
        conninfo.conninfo("postgresql://u:p@h/db?passfile=/x", user="it's", password=None, passfile=None)
    )
    assert made == {"host": "h", "dbname": "db", "user": "it's"}
