/** Resumable uploads (TUS 1.0) by the library that Supabase Storage itself uses, told its rules: names, rights and limits. */
import { Buffer } from "node:buffer";
import { FileStore } from "@tus/file-store";
import { Metadata, Server, type Upload } from "@tus/server";
import { bucketOf, sizeLimit } from "./buckets.ts";
import { callerOf } from "./database.ts";
import { Refusal, refuse } from "./errors.ts";
import type { Objects } from "./objects.ts";

export const PATH = "/upload/resumable";
const EXPIRES = 24 * 3600 * 1000; // as Supabase's documentation has it

/** An upload's id is bucket/name/version; in its URL it is base64url, in one segment. */
function parts(id: string): { bucket: string; name: string; version: string } {
  const [bucket, ...rest] = id.split("/");
  const version = rest.pop();
  if (!bucket || !rest.length || !version) throw refuse.request("Invalid upload id");
  return { bucket, name: rest.join("/"), version };
}

export function resumable(objects: Objects): Server {
  const store = new FileStore({ directory: `${objects.root}/uploads`, expirationPeriodInMilliseconds: EXPIRES });
  return new Server({
    path: PATH,
    datastore: store,
    disableTerminationForFinishedUploads: true,
    respectForwardedHeaders: true,
    maxSize: async (_request, id) => sizeLimit(id ? await bucketOf(parts(id).bucket) : undefined),
    namingFunction: (_request, metadata) => `${metadata?.bucketName ?? ""}/${metadata?.objectName ?? ""}/${crypto.randomUUID()}`,
    generateUrl: (request, { proto, host, path, id }) => {
      const prefix = request.headers.get("x-forwarded-prefix") ?? "";
      return `${proto}://${host}${prefix}${path}/${Buffer.from(id).toString("base64url")}`;
    },
    getFileIdFromRequest: (request) => {
      const last = new URL(request.url).pathname.split("/").pop() ?? "";
      return PATH.endsWith(`/${last}`) ? undefined : Buffer.from(last, "base64url").toString();
    },
    async onIncomingRequest(request, id) {
      if (request.method === "OPTIONS" || request.method === "HEAD") return;
      const caller = await callerOf(request as Request);
      const { bucket, name } = parts(id);
      const posted = request.method === "POST";
      const upload = posted ? undefined : await store.getUpload(id);
      const metadata = posted ? Metadata.parse(request.headers.get("upload-metadata") ?? "") : upload?.metadata;
      const size = posted ? Number(request.headers.get("upload-length")) : upload?.size;
      const upsert = request.headers.get("x-upsert") === "true";
      await objects.admit(caller, { bucket, name, upsert, size, mimetype: metadata?.contentType ?? undefined });
    },
    async onUploadFinish(request, upload: Upload) {
      const { bucket, name, version } = parts(upload.id);
      // Linked, not moved: until it expires the upload still answers that it is whole, as Supabase's does.
      Deno.linkSync(`${objects.root}/uploads/${upload.id}`, objects.file(version));
      const { contentType, cacheControl, metadata } = upload.metadata ?? {};
      const cached = /^\d+$/.test(cacheControl ?? "") ? `max-age=${cacheControl}` : "no-cache";
      const { sub: owner } = (await callerOf(request as Request)).claims;
      const come = { version, mimetype: contentType ?? "application/octet-stream", cacheControl: cached };
      await objects.complete({ bucket, name }, {
        ...come,
        user_metadata: metadata ? JSON.parse(metadata) : null,
        ...(owner ? { owner } : {}),
      });
      return { headers: { "Tus-Complete": "1" } };
    },
    onResponseError: (_request, error) => (error instanceof Refusal ? { status_code: error.status, body: error.message } : undefined),
  });
}
