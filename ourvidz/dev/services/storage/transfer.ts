/** Bytes in and out: an upload's body or form into a file, an object or a range of it to whoever may read it. */
import type { Caller } from "./database.ts";
import { Refusal, refuse } from "./errors.ts";
import type { Objects, Row } from "./objects.ts";

type Wish = { bucket: string; name: string; upsert: boolean; owner?: string };

/** The body itself, or the first file of a form, as browsers send it. `caller` is asked for the right, `owner` is whose it will be. */
export async function receive(objects: Objects, request: Request, caller: Caller, { bucket, name, upsert, owner }: Wish): Promise<Row> {
  const whole = request.headers.get("content-type") ?? "application/octet-stream";
  const form = whole.startsWith("multipart/form-data") ? await read(request, whole) : undefined;
  const file = form && [...form.values()].find((value) => value instanceof File);
  if (form && !file) throw refuse.request("No content provided");
  const mimetype = file ? file.type : whole;
  const cacheControl = form ? `max-age=${form.get("cacheControl") ?? 3600}` : request.headers.get("cache-control") ?? "no-cache";
  const size = file ? file.size : Number(request.headers.get("content-length") ?? 0);
  await objects.admit(caller, { bucket, name, upsert, mimetype, size });
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
  const meta = form?.get("metadata") ?? (request.headers.has("x-metadata") ? atob(request.headers.get("x-metadata")!) : null);
  const user_metadata = typeof meta === "string" ? JSON.parse(meta) : null;
  return await objects.complete({ bucket, name }, { version, mimetype, cacheControl, user_metadata, owner });
}

/** A form in memory. Browsers' clients send the file under no name, and such a part Deno's parser leaves out: it is given one. */
async function read(request: Request, type: string): Promise<FormData> {
  const bytes = new Uint8Array(await request.arrayBuffer());
  const nameless = new TextEncoder().encode('name=""; filename');
  const at = bytes.findIndex((_, i) => nameless.every((byte, n) => bytes[i + n] === byte));
  const parts = at < 0 ? [bytes] : [bytes.subarray(0, at), 'name="file"; filename', bytes.subarray(at + nameless.length)];
  return await new Response(new Blob(parts), { headers: { "content-type": type } }).formData();
}

/** `download`: the file name that a browser saves it under, if it was asked to. */
export async function serve(objects: Objects, request: Request, row: Row, download?: string | null): Promise<Response> {
  const { mimetype, size, cacheControl, eTag } = row.metadata;
  const headers = new Headers({ "content-type": mimetype, "cache-control": cacheControl, etag: eTag, "accept-ranges": "bytes" });
  if (typeof download === "string") {
    headers.set("content-disposition", `attachment;${download ? ` filename*=UTF-8''${encodeURIComponent(download)};` : ""}`);
  }
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
  const first = range ? Number(range[1]) : 0;
  const last = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  if (first > last) throw new Refusal(400, "InvalidRange", "invalid range provided", "invalid_range");
  if (range) headers.set("content-range", `bytes ${first}-${last}/${size}`);
  headers.set("content-length", String(last - first + 1));
  if (request.method === "HEAD") return new Response(null, { headers });
  const file = await Deno.open(objects.file(row.version!));
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
