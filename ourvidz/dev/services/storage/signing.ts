/** Signed URLs: a token for one object, to read it or to bring it, whoever has the URL. */
import { type Claims, sign } from "../project.ts";
import { type Caller, SERVICE, ticket } from "./database.ts";
import { Refusal, refuse } from "./errors.ts";
import type { Objects, Row } from "./objects.ts";
import { receive, serve } from "./transfer.ts";

const UPLOAD_SECONDS = 2 * 3600; // how long a signed upload may begin, as at Supabase

type Body = Record<string, unknown>;

async function address(bucket: string, name: string, seconds: number): Promise<string> {
  const url = `${bucket}/${name}`;
  return `/object/sign/${url}?token=${await sign({ url, scope: "download" }, seconds)}`;
}

function seconds({ expiresIn }: Body): number {
  const found = Number(expiresIn); // supabase-py sends it as text
  if (!Number.isInteger(found) || found < 1) throw refuse.request("body/expiresIn must be >= 1");
  return found;
}

export async function one(objects: Objects, caller: Caller, bucket: string, name: string, body: Body): Promise<Body> {
  const until = seconds(body);
  await objects.find(caller, bucket, name);
  return { signedURL: await address(bucket, name, until) };
}

/** An entry for each path that was asked for, in its order; what the caller may not see is an entry with an error. */
export async function many(objects: Objects, caller: Caller, bucket: string, body: Body): Promise<Body[]> {
  const until = seconds(body);
  const paths = names(body, "paths");
  const seen = await objects.some(caller, bucket, paths);
  const missing = "Either the object does not exist or you do not have access to it";
  return await Promise.all(
    paths.map(async (path) =>
      seen.has(path) ? { error: null, path, signedURL: await address(bucket, path, until) } : { error: missing, path, signedURL: null }
    ),
  );
}

export async function follow(objects: Objects, request: Request, url: URL, bucket: string, name: string): Promise<Response> {
  await held(url, "download", bucket, name);
  return await serve(objects, request, await objects.find(SERVICE, bucket, name), url.searchParams.get("download"));
}

export async function forUpload(objects: Objects, caller: Caller, bucket: string, name: string, upsert: boolean): Promise<Body> {
  await objects.may(caller, { bucket, name, upsert });
  const url = `${bucket}/${name}`;
  const claims = { url, scope: "upload", upsert, ...(caller.claims.sub ? { owner: caller.claims.sub } : {}) };
  const token = await sign(claims, UPLOAD_SECONDS);
  return { url: `/object/upload/sign/${url}?token=${token}`, token };
}

export async function upload(objects: Objects, request: Request, url: URL, bucket: string, name: string): Promise<Row> {
  const { upsert, owner } = await held(url, "upload", bucket, name);
  return await receive(objects, request, SERVICE, { bucket, name, upsert: upsert === true, ...(owner ? { owner: owner as string } : {}) });
}

async function held(url: URL, scope: string, bucket: string, name: string): Promise<Claims> {
  const claims = await ticket(url.searchParams.get("token") ?? "");
  if (claims.url !== `${bucket}/${name}` || claims.scope !== scope) throw new Refusal(400, "InvalidSignature", "Invalid signature");
  return claims;
}

/** A list of names in a body. Throws `InvalidRequest` for anything else. */
export function names(body: Body, field: string): string[] {
  const found = body[field];
  if (!Array.isArray(found) || !found.length || found.some((name) => typeof name !== "string")) {
    throw refuse.request(`body/${field} must be an array of strings, at least one`);
  }
  return found;
}
