/** The two ways to list. `list` shows one folder with its folders, as supabase-js's `list()`; `list-v2` pages through all names under a prefix. */
import { as, type Caller, type Sql } from "./database.ts";
import { refuse } from "./errors.ts";
import type { Objects, Row } from "./objects.ts";

type Listed = {
  name: string;
  id: string | null;
  updated_at: Date | null;
  created_at: Date | null;
  last_accessed_at: Date | null;
  metadata: unknown;
};

const COLUMNS = ["name", "updated_at", "created_at", "last_accessed_at"];

export async function folder(caller: Caller, bucket: string, body: Record<string, unknown>): Promise<Listed[]> {
  const { prefix = "", limit = 100, offset = 0, search = "", sortBy } = body;
  const { column = "name", order = "asc" } = (sortBy ?? {}) as { column?: string; order?: string };
  if (typeof prefix !== "string") throw refuse.request("body must have required property 'prefix'");
  if (typeof search !== "string") throw refuse.request("body/search must be string");
  for (const [name, value] of Object.entries({ limit, offset })) {
    if (!Number.isInteger(value) || (value as number) < 0) throw refuse.request(`body/${name} must be integer`);
  }
  if (!COLUMNS.includes(column)) throw refuse.request(`body/sortBy/column must be one of ${COLUMNS.join(", ")}`);
  if (!["asc", "desc"].includes(order)) throw refuse.request("body/sortBy/order must be asc or desc");
  const inside = prefix && !prefix.endsWith("/") ? `${prefix}/` : prefix;
  return await as(caller, (tx: Sql) =>
    tx<Listed[]>`
      with found as (
        select substr(o.name, length(${inside}) + 1) as rest, o.* from storage.objects as o
        where bucket_id = ${bucket} and starts_with(name, ${inside})
      ), listed as (
        select distinct split_part(rest, '/', 1) as name, null::uuid as id, null::timestamptz as updated_at, null::timestamptz as created_at,
          null::timestamptz as last_accessed_at, null::jsonb as metadata
        from found where position('/' in rest) > 0
        union all
        select rest, id, updated_at, created_at, last_accessed_at, metadata from found where position('/' in rest) = 0
      )
      select * from listed where starts_with(lower(name), lower(${search}))
      order by ${tx(column)} ${order === "desc" ? tx`desc` : tx`asc`}, name limit ${limit as number} offset ${offset as number}`);
}

export async function page(
  objects: Objects,
  caller: Caller,
  bucket: string,
  body: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const { prefix = "", limit = 1000, cursor = "", with_delimiter } = body as { [name: string]: string & number };
  if (with_delimiter) throw refuse.request("this emulator lists without a delimiter");
  const { objects: found, more } = await objects.page(caller, bucket, prefix, cursor ? atob(cursor) : "", Math.min(limit, 1000));
  const last = found.at(-1)?.name ?? "";
  return { hasNext: more, folders: [], objects: found satisfies Row[], ...(more ? { nextCursor: btoa(last), nextCursorKey: last } : {}) };
}
