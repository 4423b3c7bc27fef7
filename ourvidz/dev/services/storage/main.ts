/** Supabase Storage's HTTP API over a folder, for tests and `ourvidz dev up`: the routes, words and rules that its clients meet, as its
 * source has them. Not there: image transformation, S3, signed uploads, copies, the older `list`, and a database behind it.
 *
 * Environment: PORT, ROOT, PROJECT_FILE, FILE_SIZE_LIMIT (bytes; the project's own). */
import { env, sign as signToken } from "../project.ts";
import { type Caller, callerOf, NOBODY, ticket } from "./access.ts";
import { Refusal, refuse } from "./errors.ts";
import { Objects, type Row } from "./objects.ts";
import { PATH, resumable } from "./resumable.ts";

const objects = new Objects(env("ROOT"), Number(env("FILE_SIZE_LIMIT", String(5 * 2 ** 30))));
const tus = resumable(objects);

type Ask = { request: Request; url: URL; caller: Caller; bucket: string; name: string };
type Answer = Response | Promise<Response>;

const ROUTES: [string, RegExp, "open" | "known", (ask: Ask) => Answer][] = [
  ["GET", /^\/status$/, "open", () => new Response(null)],
  ["GET", /^\/bucket\/?$/, "known", ({ caller }) => Response.json(service(caller) && objects.allBuckets())],
  ["POST", /^\/bucket\/?$/, "known", ({ request, caller }) => keepBucket(request, caller)],
  ["GET", /^\/bucket\/(?<bucket>[^/]+)$/, "known", ({ caller, bucket }) => Response.json(service(caller) && objects.bucket(bucket))],
  ["PUT", /^\/bucket\/(?<bucket>[^/]+)$/, "known", ({ request, caller, bucket }) => keepBucket(request, caller, bucket)],
  ["POST", /^\/object\/list-v2\/(?<bucket>[^/]+)$/, "known", list],
  ["POST", /^\/object\/move$/, "known", move],
  ["POST", /^\/object\/sign\/(?<bucket>[^/]+)\/(?<name>.+)$/, "known", sign],
  ["GET", /^\/object\/sign\/(?<bucket>[^/]+)\/(?<name>.+)$/, "open", signed],
  ["GET", /^\/object\/public\/(?<bucket>[^/]+)\/(?<name>.+)$/, "open", ({ request, bucket, name }) => {
    if (!objects.bucket(bucket).public) throw refuse.noBucket();
    return serve(request, objects.find("anyone", bucket, name));
  }],
  ["GET", /^\/object\/info\/(?:authenticated\/)?(?<bucket>[^/]+)\/(?<name>.+)$/, "known", info],
  ["GET", /^\/object\/(?:authenticated\/)?(?<bucket>[^/]+)\/(?<name>.+)$/, "known", (ask) => serve(ask.request, readable(ask))],
  ["HEAD", /^\/object\/(?:authenticated\/)?(?<bucket>[^/]+)\/(?<name>.+)$/, "known", (ask) => serve(ask.request, readable(ask))],
  ["POST", /^\/object\/(?<bucket>[^/]+)\/(?<name>.+)$/, "known", upload],
  ["DELETE", /^\/object\/(?<bucket>[^/]+)\/(?<name>.+)$/, "known", ({ caller, bucket, name }) => {
    objects.remove(caller, bucket, name);
    return Response.json({ message: "Successfully deleted" });
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
      const caller = who === "known" ? await callerOf(request) : NOBODY;
      return await handle({ request, url, caller, bucket: decodeURIComponent(bucket), name: decodeURIComponent(name) });
    }
    return Response.json({ message: `Route ${request.method}:${path} not found`, error: "Not Found", statusCode: "404" }, { status: 404 });
  } catch (error) {
    await request.body?.cancel().catch(() => {}); // an answer before the whole body was read
    if (error instanceof Refusal) return error.response();
    console.error(error);
    return new Refusal(500, "InternalError", "Internal server error").response();
  }
}

function service(caller: Caller): true {
  if (!caller.service) throw refuse.denied("new row violates row-level security policy");
  return true;
}

async function keepBucket(request: Request, caller: Caller, id?: string): Promise<Response> {
  service(caller);
  const body = await request.json();
  const change = Object.fromEntries(["public", "file_size_limit", "allowed_mime_types"].filter((k) => k in body).map((k) => [k, body[k]]));
  objects.keepBucket(id ?? body.id ?? body.name, change, id === undefined);
  return Response.json(id === undefined ? { name: body.name } : { message: "Successfully updated" });
}

/** The body itself, or the first file of a form, as browsers send it. */
async function upload({ request, caller, bucket, name }: Ask): Promise<Response> {
  objects.bucket(bucket);
  const whole = request.headers.get("content-type") ?? "application/octet-stream";
  const form = whole.startsWith("multipart/form-data") ? await read(request, whole) : undefined;
  const file = form && [...form.values()].find((value) => value instanceof File);
  if (form && !file) throw refuse.request("No content provided");
  const mimetype = file ? file.type : whole;
  const cached = form ? `max-age=${form.get("cacheControl") ?? 3600}` : request.headers.get("cache-control") ?? "no-cache";
  const size = file ? file.size : Number(request.headers.get("content-length") ?? 0);
  objects.admit(caller, { bucket, name, upsert: request.headers.get("x-upsert") === "true", mimetype, size });
  const version = crypto.randomUUID();
  const body = file ? file.stream() : request.body;
  try {
    const target = await Deno.open(objects.file(version), { write: true, createNew: true });
    if (body) await body.pipeTo(target.writable);
    else target.close();
  } catch (error) {
    await Deno.remove(objects.file(version)); // half of it came
    throw error;
  }
  const meta = request.headers.get("x-metadata");
  const row = objects.complete(bucket, name, version, mimetype, cached, meta ? JSON.parse(atob(meta)) : null);
  return Response.json({ Id: row.id, Key: `${bucket}/${name}` });
}

/** A form in memory. Browsers' clients send the file under no name, and such a part Deno's parser leaves out: it is given one. */
async function read(request: Request, type: string): Promise<FormData> {
  const bytes = new Uint8Array(await request.arrayBuffer());
  const nameless = new TextEncoder().encode('name=""; filename');
  const at = bytes.findIndex((_, i) => nameless.every((byte, n) => bytes[i + n] === byte));
  const parts = at < 0 ? [bytes] : [bytes.subarray(0, at), 'name="file"; filename', bytes.subarray(at + nameless.length)];
  return await new Response(new Blob(parts), { headers: { "content-type": type } }).formData();
}

const readable = ({ caller, bucket, name }: Ask): Row => objects.find(objects.bucket(bucket).public ? "anyone" : caller, bucket, name);

async function serve(request: Request, row: Row): Promise<Response> {
  const { mimetype, size, cacheControl, eTag } = row.metadata;
  const headers = new Headers({ "content-type": mimetype, "cache-control": cacheControl, etag: eTag, "accept-ranges": "bytes" });
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
  const first = range ? Number(range[1]) : 0;
  const last = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  if (first > last) throw new Refusal(400, "InvalidRange", "invalid range provided", "invalid_range");
  if (range) headers.set("content-range", `bytes ${first}-${last}/${size}`);
  headers.set("content-length", String(last - first + 1));
  if (request.method === "HEAD") return new Response(null, { headers });
  const file = await Deno.open(objects.file(row.version));
  await file.seek(first, Deno.SeekMode.Start);
  let left = last - first + 1;
  const cut = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, out) {
      if (left > 0) out.enqueue(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) out.terminate();
    },
  });
  return new Response(file.readable.pipeThrough(cut), { status: range ? 206 : 200, headers });
}

function info(ask: Ask): Response {
  const { metadata, user_metadata, updated_at, ...row } = readable(ask);
  const { size, mimetype, cacheControl, eTag } = metadata;
  return Response.json({
    ...row,
    size,
    content_type: mimetype,
    cache_control: cacheControl,
    etag: eTag,
    metadata: user_metadata,
    last_modified: updated_at,
  });
}

async function list({ request, caller, bucket }: Ask): Promise<Response> {
  const { prefix = "", limit = 1000, cursor = "", with_delimiter } = await request.json();
  if (with_delimiter) throw refuse.request("this face lists without a delimiter");
  const { objects: found, more } = objects.page(caller, bucket, prefix, cursor ? atob(cursor) : "", Math.min(limit, 1000));
  const last = found.at(-1)?.name ?? "";
  return Response.json({ hasNext: more, folders: [], objects: found, ...(more ? { nextCursor: btoa(last), nextCursorKey: last } : {}) });
}

async function move({ request, caller }: Ask): Promise<Response> {
  const { bucketId, sourceKey, destinationBucket = bucketId, destinationKey } = await request.json();
  const row = objects.move(caller, { bucket: bucketId, name: sourceKey }, { bucket: destinationBucket, name: destinationKey });
  return Response.json({ message: "Successfully moved", Id: row.id, Key: row.name });
}

async function sign({ request, caller, bucket, name }: Ask): Promise<Response> {
  const { expiresIn } = await request.json();
  if (!Number.isInteger(expiresIn) || expiresIn < 1) throw refuse.request("body/expiresIn must be >= 1");
  objects.find(caller, bucket, name);
  const url = `${bucket}/${name}`;
  return Response.json({ signedURL: `/object/sign/${url}?token=${await signToken({ url, scope: "download" }, expiresIn)}` });
}

async function signed({ request, url, bucket, name }: Ask): Promise<Response> {
  const claims = await ticket(url.searchParams.get("token") ?? "");
  if (claims.url !== `${bucket}/${name}` || claims.scope !== "download") throw new Refusal(400, "InvalidSignature", "Invalid signature");
  return await serve(request, objects.find("anyone", bucket, name));
}

Deno.serve({ hostname: "127.0.0.1", port: Number(env("PORT")), onListen: () => console.log("listening") }, answer);
