/** Supabase Storage's HTTP API over storage.objects and a folder, for tests and `ourvidz dev up`: the routes, words and rules that its clients
 * meet, as its source has them. Not there: image transformation, S3, versions.
 *
 * Environment: PORT, ROOT (where bytes are), PROJECT_FILE, FILE_SIZE_LIMIT (bytes; the project's own), and libpq's PG… for a role that may
 * become anon, authenticated and service_role. */
import { env } from "../project.ts";
import * as buckets from "./buckets.ts";
import { type Caller, callerOf, SERVICE } from "./database.ts";
import { Refusal, refuse } from "./errors.ts";
import * as listing from "./listing.ts";
import { Objects, type Row } from "./objects.ts";
import { PATH, resumable } from "./resumable.ts";
import * as signing from "./signing.ts";
import { receive, serve } from "./transfer.ts";

const objects = new Objects(env("ROOT"));
const tus = resumable(objects);

type Body = Record<string, unknown>;
type Ask = { request: Request; url: URL; caller: Caller; bucket: string; name: string; body: () => Promise<Body> };

const OBJECT = "(?<bucket>[^/]+)/(?<name>.+)";
const READ = new RegExp(`^/object/(?:authenticated/)?${OBJECT}$`);
const upserts = ({ request }: Ask): boolean => request.headers.get("x-upsert") === "true";
const owner = ({ caller }: Ask) => (caller.claims.sub ? { owner: caller.claims.sub } : {});

/** The first that fits is it. `open`: asked without a token, or with one in the URL. */
const ROUTES: [string, RegExp, "open" | "known", (ask: Ask) => unknown][] = [
  ["GET", /^\/status$/, "open", async () => new Response(String((await buckets.buckets(SERVICE)).length))],
  ["GET", /^\/bucket\/?$/, "known", ({ caller }) => buckets.buckets(caller)],
  ["POST", /^\/bucket\/?$/, "known", makeBucket],
  ["GET", /^\/bucket\/(?<bucket>[^/]+)$/, "known", ({ caller, bucket }) => buckets.seenBy(caller, bucket)],
  ["PUT", /^\/bucket\/(?<bucket>[^/]+)$/, "known", async ({ caller, bucket, body }) => {
    await buckets.update(caller, bucket, change(await body()));
    return { message: "Successfully updated" };
  }],
  ["DELETE", /^\/bucket\/(?<bucket>[^/]+)$/, "known", async ({ caller, bucket }) => {
    await buckets.remove(caller, bucket);
    return { message: "Successfully deleted" };
  }],
  ["POST", /^\/bucket\/(?<bucket>[^/]+)\/empty$/, "known", async ({ caller, bucket }) => {
    await buckets.seenBy(caller, bucket);
    await objects.empty(caller, bucket);
    return { message: "Empty bucket has been queued. Completion may take up to an hour." }; // as Supabase says; here it is done
  }],
  [
    "POST",
    /^\/object\/list-v2\/(?<bucket>[^/]+)$/,
    "known",
    async (ask) => listing.page(objects, ask.caller, ask.bucket, await ask.body()),
  ],
  ["POST", /^\/object\/list\/(?<bucket>[^/]+)$/, "known", async ({ caller, bucket, body }) => listing.folder(caller, bucket, await body())],
  ["POST", /^\/object\/(?<name>move|copy)$/, "known", transfer],
  ["POST", /^\/object\/sign\/(?<bucket>[^/]+)$/, "known", async (ask) => signing.many(objects, ask.caller, ask.bucket, await ask.body())],
  ["POST", new RegExp(`^/object/sign/${OBJECT}$`), "known", async (ask) => {
    return signing.one(objects, ask.caller, ask.bucket, ask.name, await ask.body());
  }],
  ["GET", new RegExp(`^/object/sign/${OBJECT}$`), "open", (ask) => signing.follow(objects, ask.request, ask.url, ask.bucket, ask.name)],
  ["POST", new RegExp(`^/object/upload/sign/${OBJECT}$`), "known", (ask) => {
    return signing.forUpload(objects, ask.caller, ask.bucket, ask.name, upserts(ask));
  }],
  ["PUT", new RegExp(`^/object/upload/sign/${OBJECT}$`), "open", async ({ request, url, bucket, name }) => {
    return stored(await signing.upload(objects, request, url, bucket, name));
  }],
  ["GET", new RegExp(`^/object/public/${OBJECT}$`), "open", async ({ request, url, bucket, name }) => {
    if (!(await buckets.bucketOf(bucket)).public) throw refuse.noBucket();
    return serve(objects, request, await objects.find(SERVICE, bucket, name), url.searchParams.get("download"));
  }],
  ["GET", new RegExp(`^/object/info/(?:authenticated/)?${OBJECT}$`), "known", async (ask) => info(await readable(ask))],
  ["GET", READ, "known", async (ask) => serve(objects, ask.request, await readable(ask))],
  ["HEAD", READ, "known", async (ask) => serve(objects, ask.request, await readable(ask))],
  ["POST", new RegExp(`^/object/${OBJECT}$`), "known", async (ask) => {
    return stored(await receive(objects, ask.request, ask.caller, { ...ask, upsert: upserts(ask), ...owner(ask) }));
  }],
  ["PUT", new RegExp(`^/object/${OBJECT}$`), "known", async (ask) => {
    return stored(await receive(objects, ask.request, ask.caller, { ...ask, upsert: true, ...owner(ask) }));
  }],
  ["DELETE", /^\/object\/(?<bucket>[^/]+)$/, "known", async ({ caller, bucket, body }) => {
    return (await objects.remove(caller, bucket, signing.names(await body(), "prefixes")));
  }],
  ["DELETE", new RegExp(`^/object/${OBJECT}$`), "known", async ({ caller, bucket, name }) => {
    if (!(await objects.remove(caller, bucket, [name])).length) throw refuse.noObject();
    return { message: "Successfully deleted" };
  }],
];

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const path = url.pathname.replace(/^\/storage\/v1(?=\/)/, ""); // a gateway takes this off; without one it is still there
  try {
    if (path === PATH || path.startsWith(`${PATH}/`)) return await tus.handleWeb(request);
    for (const [method, pattern, who, handle] of ROUTES) {
      const found = request.method === method ? pattern.exec(path) : null;
      if (!found) continue;
      const { bucket = "", name = "" } = found.groups ?? {};
      const caller = who === "known" ? await callerOf(request) : SERVICE;
      const ask = { request, url, caller, bucket: decodeURIComponent(bucket), name: decodeURIComponent(name), body: () => read(request) };
      const said = await handle(ask);
      return said instanceof Response ? said : Response.json(said);
    }
    return Response.json({ message: `Route ${request.method}:${path} not found`, error: "Not Found", statusCode: "404" }, { status: 404 });
  } catch (error) {
    await request.body?.cancel().catch(() => {}); // an answer before the whole body was read
    if (error instanceof Refusal) return error.response();
    console.error(error);
    return new Refusal(500, "InternalError", "Internal server error").response();
  }
}

async function read(request: Request): Promise<Body> {
  try {
    const found = await request.json();
    if (found && typeof found === "object" && !Array.isArray(found)) return found;
  } catch { /* refused below */ }
  throw refuse.request("body must be object");
}

const change = (body: Body) =>
  Object.fromEntries(["public", "file_size_limit", "allowed_mime_types"].filter((name) => name in body).map((name) => [name, body[name]]));

async function makeBucket({ caller, body }: Ask): Promise<Body> {
  const said = await body();
  const id = said.id ?? said.name;
  if (typeof id !== "string" || !id) throw refuse.request("body must have required property 'name'");
  await buckets.create(caller, id, change(said));
  return { name: said.name };
}

const readable = async ({ caller, bucket, name }: Ask): Promise<Row> =>
  objects.find((await buckets.bucketOf(bucket)).public ? SERVICE : caller, bucket, name);

const stored = ({ id, bucket_id, name }: Row) => ({ Id: id, Key: `${bucket_id}/${name}` });

function info({ metadata, user_metadata, updated_at, ...row }: Row): Body {
  const { size, mimetype, cacheControl, eTag } = metadata;
  return {
    ...row,
    size,
    content_type: mimetype,
    cache_control: cacheControl,
    etag: eTag,
    metadata: user_metadata,
    last_modified: updated_at,
  };
}

async function transfer(ask: Ask): Promise<Body> {
  const { bucketId, sourceKey, destinationBucket = bucketId, destinationKey } = await ask.body();
  for (const [field, value] of Object.entries({ bucketId, sourceKey, destinationBucket, destinationKey })) {
    if (typeof value !== "string") throw refuse.request(`body must have required property '${field}'`);
  }
  const from = { bucket: bucketId as string, name: sourceKey as string };
  const to = { bucket: destinationBucket as string, name: destinationKey as string };
  if (ask.name === "copy") return stored(await objects.copy(ask.caller, from, to, upserts(ask)));
  const row = await objects.move(ask.caller, from, to);
  return { message: "Successfully moved", Id: row.id, Key: row.name };
}

Deno.serve({ hostname: "127.0.0.1", port: Number(env("PORT")), onListen: () => console.log("listening") }, answer);
