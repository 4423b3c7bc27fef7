/** Objects: rows of storage.objects, and bytes in a folder under each row's version. Bytes are there before their row, and go after it. */
import type { Claims } from "../project.ts";
import { as, type Caller, might, SERVICE, type Sql, together } from "./database.ts";
import { bucketOf, sizeLimit } from "./buckets.ts";
import { refuse } from "./errors.ts";

export type Metadata = { mimetype: string; size: number; cacheControl: string; eTag: string };
export type Row = {
  id: string;
  bucket_id: string;
  name: string;
  version: string | null;
  created_at: Date;
  updated_at: Date;
  metadata: Metadata;
  user_metadata: unknown;
};
export type Offer = { bucket: string; name: string; upsert: boolean; mimetype?: string; size?: number };
export type Come = { version: string; mimetype: string; cacheControl: string; user_metadata: unknown; owner?: string };
type Place = { bucket: string; name: string };

const KEY = /^[A-Za-z0-9_/!.*'() &$=@;:+,?-]+$/; // what Supabase Storage takes (its `storage/limits`)

export class Objects {
  constructor(readonly root: string) {
    for (const folder of ["data", "uploads"]) Deno.mkdirSync(`${root}/${folder}`, { recursive: true });
  }

  file = (version: string): string => `${this.root}/data/${version}`;

  /** Whether the caller may bring such an object. */
  async may(caller: Caller, { bucket, name, upsert }: Offer): Promise<void> {
    await bucketOf(bucket);
    mustBeKey(name);
    await might(caller, (tx) => insert(tx, caller.claims, { bucket, name }, upsert));
  }

  /** What is asked when an upload begins, and of a resumable one at each of its requests. Whoever passes may finish: the end looks no more. */
  async admit(caller: Caller, offer: Offer): Promise<void> {
    const bucket = await bucketOf(offer.bucket);
    const [type, allowed] = [offer.mimetype ?? "", bucket.allowed_mime_types];
    if (allowed?.length && !allowed.some((a) => a === type || a === `${type.split("/")[0]}/*`)) throw refuse.type(type);
    if ((offer.size ?? 0) > sizeLimit(bucket)) throw refuse.tooLarge();
    mustBeKey(offer.name);
    await might(caller, (tx) => insert(tx, caller.claims, offer, offer.upsert));
  }

  /** The end of an upload: `version` is in `data`. What was there is replaced, also where the upload did not ask for it: so Supabase does. */
  async complete({ bucket, name }: Place, { version, mimetype, cacheControl, user_metadata, owner }: Come): Promise<Row> {
    const size = Deno.statSync(this.file(version)).size;
    const metadata = { mimetype, size, cacheControl, eTag: `"${version.replaceAll("-", "")}"` };
    const [, [before], [row]] = await together((tx) =>
      Promise.all([ // sent at once, done in order
        tx`select pg_advisory_xact_lock(hashtextextended(${`${bucket}/${name}`}, 0))`,
        // Locked: a move that is under way takes the row, and the bytes that we would forget, elsewhere.
        tx<Row[]>`select * from storage.objects where bucket_id = ${bucket} and name = ${name} for update`,
        tx<Row[]>`
          insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
          values (${bucket}, ${name}, ${owner ?? null}::uuid, ${owner ?? null}, ${version}, ${tx.json(metadata)},
                  ${user_metadata ? tx.json(user_metadata as never) : null})
          on conflict (bucket_id, name) do update set owner = excluded.owner, owner_id = excluded.owner_id, version = excluded.version,
            metadata = excluded.metadata, user_metadata = excluded.user_metadata, updated_at = now()
          returning *`,
      ])
    );
    if (before) await this.forget(before);
    return row!;
  }

  async find(caller: Caller, bucket: string, name: string): Promise<Row> {
    await bucketOf(bucket);
    const [row] = await as(caller, (tx) => tx<Row[]>`select * from storage.objects where bucket_id = ${bucket} and name = ${name}`);
    if (!row?.version) throw refuse.noObject();
    return row;
  }

  /** Those of `names` that the caller may see. */
  async some(caller: Caller, bucket: string, names: string[]): Promise<Set<string>> {
    await bucketOf(bucket);
    const rows = await as(
      caller,
      (tx) => tx<Row[]>`select name from storage.objects where bucket_id = ${bucket} and name = any (${names})`,
    );
    return new Set(rows.map(({ name }) => name));
  }

  /** Unlike the end of an upload, a move never replaces: the table's unique key refuses it. */
  async move(caller: Caller, from: Place, to: Place): Promise<Row> {
    await this.find(caller, from.bucket, from.name);
    await bucketOf(to.bucket);
    mustBeKey(to.name);
    const move = (tx: Sql) =>
      tx<Row[]>`update storage.objects set bucket_id = ${to.bucket}, name = ${to.name}, updated_at = now()
                where bucket_id = ${from.bucket} and name = ${from.name} returning *`;
    if (!(await might(caller, move)).length) throw refuse.noObject();
    const [row] = await as(SERVICE, move);
    if (!row) throw refuse.noObject();
    return row;
  }

  async copy(caller: Caller, from: Place, to: Place, upsert: boolean): Promise<Row> {
    const { version, metadata, user_metadata } = await this.find(caller, from.bucket, from.name);
    await this.admit(caller, { ...to, upsert, mimetype: metadata.mimetype, size: metadata.size });
    const again = crypto.randomUUID();
    await Deno.copyFile(this.file(version!), this.file(again));
    const { mimetype, cacheControl } = metadata;
    return await this.complete(to, { version: again, mimetype, cacheControl, user_metadata, owner: caller.claims.sub });
  }

  /** The rows that went: those of `names` that the caller may see and delete. */
  async remove(caller: Caller, bucket: string, names: string[]): Promise<Row[]> {
    await bucketOf(bucket);
    const rows = await as(
      caller,
      (tx) => tx<Row[]>`delete from storage.objects where bucket_id = ${bucket} and name = any (${names}) returning *`,
    );
    for (const row of rows) await this.forget(row);
    return rows;
  }

  async empty(caller: Caller, bucket: string): Promise<void> {
    const rows = await as(caller, (tx) => tx<Row[]>`delete from storage.objects where bucket_id = ${bucket} returning *`);
    for (const row of rows) await this.forget(row);
  }

  /** A page of those under `prefix` after the name `after`, by name as bytes. */
  async page(caller: Caller, bucket: string, prefix: string, after: string, limit: number): Promise<{ objects: Row[]; more: boolean }> {
    const rows = await as(
      caller,
      (tx) =>
        tx<Row[]>`select * from storage.objects where bucket_id = ${bucket} and starts_with(name, ${prefix}) and name collate "C" > ${after}
                order by name collate "C" limit ${limit + 1}`,
    );
    return { objects: rows.slice(0, limit), more: rows.length > limit };
  }

  private async forget({ version }: Row): Promise<void> {
    if (!version) return;
    await Deno.remove(this.file(version)).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // a row that SQL made has no bytes
    });
  }
}

function mustBeKey(name: string): void {
  if (!KEY.test(name)) throw refuse.key(name);
}

async function insert(tx: Sql, { sub }: Claims, { bucket, name }: Place, upsert: boolean): Promise<void> {
  const owner = sub ?? null;
  const row = tx`insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata)
                 values (${bucket}, ${name}, ${owner}::uuid, ${owner}, '', '{}')`;
  if (upsert) await tx`${row} on conflict (bucket_id, name) do update set owner = excluded.owner, version = excluded.version`;
  else await row;
}
