/** Buckets: rows of storage.buckets. */
import { env } from "../project.ts";
import { as, type Caller, SERVICE, type Sql } from "./database.ts";
import { refuse } from "./errors.ts";

export type Bucket = { id: string; name: string; public: boolean; file_size_limit: number | null; allowed_mime_types: string[] | null };
type Change = Partial<Pick<Bucket, "public" | "file_size_limit" | "allowed_mime_types">>;

const PROJECT_LIMIT = Number(env("FILE_SIZE_LIMIT", String(5 * 2 ** 30))); // bytes; the project's own, over those of its buckets

export async function buckets(caller: Caller): Promise<Bucket[]> {
  return await as(caller, (tx) => tx<Bucket[]>`select *, coalesce(owner::text, '') as owner from storage.buckets order by name`);
}

/** Any bucket: whether it is there is no secret, what is in it may be. */
export const bucketOf = (id: string): Promise<Bucket> => seenBy(SERVICE, id);

export async function seenBy(caller: Caller, id: string): Promise<Bucket> {
  const [bucket] = await as(
    caller,
    (tx) => tx<Bucket[]>`select *, coalesce(owner::text, '') as owner from storage.buckets where id = ${id}`,
  );
  if (!bucket) throw refuse.noBucket();
  return bucket;
}

export const sizeLimit = (bucket?: Bucket): number => Math.min(PROJECT_LIMIT, bucket?.file_size_limit || PROJECT_LIMIT);

export async function create(caller: Caller, id: string, change: Change): Promise<void> {
  within(change);
  const { public: open = false, file_size_limit = null, allowed_mime_types = null } = change;
  await as(caller, (tx) =>
    tx`insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
       values (${id}, ${id}, ${open}, ${file_size_limit}, ${allowed_mime_types})`);
}

export async function update(caller: Caller, id: string, change: Change): Promise<void> {
  within(change);
  if (!Object.keys(change).length) return void await seenBy(caller, id);
  const done = await as(
    caller,
    (tx: Sql) => tx`update storage.buckets set ${tx(change as never)}, updated_at = now() where id = ${id} returning id`,
  );
  if (!done.length) throw refuse.noBucket();
}

/** An empty one; Supabase refuses to delete another. */
export async function remove(caller: Caller, id: string): Promise<void> {
  const [{ full }] = await as(
    SERVICE,
    (tx) => tx<[{ full: boolean }]>`select exists (select from storage.objects where bucket_id = ${id}) as full`,
  );
  if (full) throw refuse.notEmpty();
  const done = await as(caller, (tx) => tx`delete from storage.buckets where id = ${id} returning id`);
  if (!done.length) throw refuse.noBucket();
}

function within({ file_size_limit }: Change): void {
  if ((file_size_limit ?? 0) > PROJECT_LIMIT) throw refuse.tooLarge();
}
