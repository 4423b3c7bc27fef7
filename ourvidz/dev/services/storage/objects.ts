/** Buckets and objects in a folder: `buckets.json`, a row a file in `rows`, and bytes in `data` under the row's version. One process
 * serves a folder, so that what is in memory is what is true; a row is written aside and renamed, so that it outlives a kill. */
import { type Caller, owns } from "./access.ts";
import { refuse } from "./errors.ts";

export type Bucket = {
  id: string;
  name: string;
  public: boolean;
  file_size_limit: number | null;
  allowed_mime_types: string[] | null;
  created_at: string;
  updated_at: string;
};
export type Row = {
  id: string;
  bucket_id: string;
  name: string;
  version: string;
  created_at: string;
  updated_at: string;
  metadata: { mimetype: string; size: number; cacheControl: string; eTag: string };
  user_metadata: unknown;
};
export type Offer = { bucket: string; name: string; upsert: boolean; mimetype?: string; size?: number };

// What Supabase Storage takes (its `storage/limits`).
const KEY = /^[A-Za-z0-9_/!.*'() &$=@;:+,?-]+$/;

export class Objects {
  private readonly buckets = new Map<string, Bucket>();
  private readonly rows = new Map<string, Row>();

  /** `limit` in bytes: the project's own, over those of its buckets. */
  constructor(readonly root: string, readonly limit: number) {
    for (const folder of ["rows", "data", "uploads"]) Deno.mkdirSync(`${root}/${folder}`, { recursive: true });
    for (const bucket of read<Bucket[]>(`${root}/buckets.json`) ?? []) this.buckets.set(bucket.id, bucket);
    for (const entry of Deno.readDirSync(`${root}/rows`)) {
      const row = entry.name.endsWith(".json") ? read<Row>(`${root}/rows/${entry.name}`) : undefined;
      if (row) this.rows.set(`${row.bucket_id}/${row.name}`, row);
    }
  }

  allBuckets = (): Bucket[] => [...this.buckets.values()];

  bucket(id: string): Bucket {
    const bucket = this.buckets.get(id);
    if (!bucket) throw refuse.noBucket();
    return bucket;
  }

  keepBucket(id: string, change: Partial<Bucket>, fresh: boolean): void {
    if (fresh && this.buckets.has(id)) throw refuse.exists();
    if ((change.file_size_limit ?? 0) > this.limit) throw refuse.tooLarge();
    const now = new Date().toISOString();
    const blank = { id, name: id, public: false, file_size_limit: null, allowed_mime_types: null, created_at: now };
    this.buckets.set(id, { ...(fresh ? blank : this.bucket(id)), ...change, updated_at: now });
    write(`${this.root}/buckets.json`, this.allBuckets());
  }

  sizeLimit = (bucket: string): number => Math.min(this.limit, this.bucket(bucket).file_size_limit || this.limit);

  /** What is asked when an upload begins, and of a resumable one at each of its requests. Whoever passes may finish: the end looks no more. */
  admit(caller: Caller, offer: Offer): void {
    const bucket = this.bucket(offer.bucket);
    if (!KEY.test(offer.name)) throw refuse.key(offer.name);
    if (!owns(caller, offer.name)) throw refuse.denied("new row violates row-level security policy");
    const [type, allowed] = [offer.mimetype ?? "", bucket.allowed_mime_types];
    if (allowed?.length && !allowed.some((a) => a === type || a === `${type.split("/")[0]}/*`)) throw refuse.type(type);
    if ((offer.size ?? 0) > this.sizeLimit(offer.bucket)) throw refuse.tooLarge();
    if (!offer.upsert && this.rows.has(`${offer.bucket}/${offer.name}`)) throw refuse.exists();
  }

  /** The end of an upload: `version` is in `data`. What was there is replaced, also where the upload did not ask for it: so Supabase does. */
  complete(bucket: string, name: string, version: string, mimetype: string, cacheControl: string, user_metadata: unknown): Row {
    const now = new Date().toISOString();
    const before = this.rows.get(`${bucket}/${name}`);
    const size = Deno.statSync(this.file(version)).size;
    const metadata = { mimetype, size, cacheControl, eTag: `"${version.replaceAll("-", "")}"` };
    const row = {
      id: crypto.randomUUID(),
      created_at: now,
      ...before,
      bucket_id: bucket,
      name,
      version,
      updated_at: now,
      metadata,
      user_metadata,
    };
    this.keep(row);
    if (before) Deno.removeSync(this.file(before.version));
    return row;
  }

  find(caller: Caller | "anyone", bucket: string, name: string): Row {
    const row = this.rows.get(`${this.bucket(bucket).id}/${name}`);
    if (!row || (caller !== "anyone" && !owns(caller, name))) throw refuse.noObject();
    return row;
  }

  /** Unlike the end of an upload, a move never replaces: the database's unique key refuses it. */
  move(caller: Caller, from: { bucket: string; name: string }, to: { bucket: string; name: string }): Row {
    const row = this.find(caller, from.bucket, from.name);
    if (!KEY.test(to.name)) throw refuse.key(to.name);
    if (!owns(caller, to.name)) throw refuse.denied("new row violates row-level security policy");
    if (this.rows.has(`${this.bucket(to.bucket).id}/${to.name}`)) throw refuse.exists();
    this.rows.delete(`${from.bucket}/${from.name}`);
    const moved = { ...row, bucket_id: to.bucket, name: to.name, updated_at: new Date().toISOString() };
    this.keep(moved);
    return moved;
  }

  remove(caller: Caller, bucket: string, name: string): Row {
    const row = this.find(caller, bucket, name);
    this.rows.delete(`${bucket}/${name}`);
    Deno.removeSync(`${this.root}/rows/${row.id}.json`);
    Deno.removeSync(this.file(row.version));
    return row;
  }

  /** A page of those under `prefix` after the name `after`, by name as bytes. */
  page(caller: Caller, bucket: string, prefix: string, after: string, limit: number): { objects: Row[]; more: boolean } {
    const all = [...this.rows.values()].filter((r) =>
      r.bucket_id === bucket && r.name.startsWith(prefix) && r.name > after && owns(caller, r.name)
    );
    all.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { objects: all.slice(0, limit), more: all.length > limit };
  }

  file = (version: string): string => `${this.root}/data/${version}`;

  private keep(row: Row): void {
    write(`${this.root}/rows/${row.id}.json`, row);
    this.rows.set(`${row.bucket_id}/${row.name}`, row);
  }
}

function read<T>(path: string): T | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function write(path: string, value: unknown): void {
  Deno.writeTextFileSync(`${path}.new`, JSON.stringify(value));
  Deno.renameSync(`${path}.new`, path);
}
