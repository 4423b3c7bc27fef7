"""Changes of published tables from a logical replication slot, decoded as Realtime's server does: pgoutput, protocol 1
(https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Change:
    """`row` holds each column as text, without unchanged large (TOASTed) values, which are not resent. `full`: with the whole old row."""

    verb: str  # INSERT | UPDATE | DELETE
    table: str
    row: dict[str, str | None]
    full: bool


class Slot:
    """A replication slot: `read` returns the changes committed since the previous call."""

    def __init__(self, connection: psycopg.Connection, name: str = "contract", publication: str = "supabase_realtime") -> None:
        self._connection, self._name, self._publication = connection, name, publication
        connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))

    def read(self) -> list[Change]:
        sql = "select data from pg_logical_slot_get_binary_changes(%s, null, null, 'proto_version', '1', 'publication_names', %s)"
        return list(_changes(bytes(data) for (data,) in self._connection.execute(sql, (self._name, self._publication)).fetchall()))

    def drop(self) -> None:
        self._connection.execute("select pg_drop_replication_slot(%s)", (self._name,))


class _Message:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, form: str) -> int:
        found: int = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return found

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found, self.at = self.data[self.at : end].decode(), end + 1
        return found

    def char(self) -> str:
        self.at += 1
        return chr(self.data[self.at - 1])

    def row(self, columns: list[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in columns[: self.number("!h")]:
            match self.char():
                case "n":
                    found[name] = None
                case "t":
                    length = self.number("!i")
                    found[name] = self.data[self.at : self.at + length].decode()
                    self.at += length
        return found


def _changes(messages: Iterator[bytes]) -> Iterator[Change]:
    tables: dict[int, tuple[str, list[str]]] = {}
    for message in map(_Message, messages):
        match message.char():
            case "R":
                relation, _, name = message.number("!i"), message.text(), message.text()
                message.char()
                columns = []
                for _ in range(message.number("!h")):
                    message.number("!b")
                    columns.append(message.text())
                    message.number("!i"), message.number("!i")
                tables[relation] = (name, columns)
            case "I" | "U" | "D" as kind:
                name, columns = tables[message.number("!i")]
                part, full = message.char(), False
                if part in "KO":
                    full = part == "O"
                    old = message.row(columns)
                    if kind == "D":
                        yield Change("DELETE", name, old, full)
                        continue
                    part = message.char()
                yield Change("INSERT" if kind == "I" else "UPDATE", name, message.row(columns), full)
