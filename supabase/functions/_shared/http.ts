// Answers of the edge functions: JSON, CORS, and refusals in the one form that front ends know: {error, success: false, details}.

export const CORS: Readonly<Record<string, string>> = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "authorization, x-client-info, apikey, content-type, idempotency-key",
  "Access-Control-Allow-Methods": "POST, OPTIONS",
  "Access-Control-Expose-Headers": "retry-after",
  "Access-Control-Max-Age": "86400",
};

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** What ends a request early. `details` is for people; neither it nor `error` holds what they wrote. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: string,
    readonly more: Readonly<Record<string, unknown>> = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

export function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json(body, { status, headers: { ...CORS, ...headers } });
}

/** Serves POSTs: preflights are answered, refusals told, and whatever else goes wrong is a 500 that quotes nothing. */
export function posts(name: string, handle: (request: Request) => Promise<Response>): (request: Request) => Promise<Response> {
  return async (request) => {
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: CORS });
    try {
      if (request.method !== "POST") throw new Refusal(405, "Method not allowed", `${name} takes POST.`, {}, { Allow: "POST, OPTIONS" });
      return await handle(request);
    } catch (error) {
      if (error instanceof Refusal) {
        const body = { error: error.message, success: false, details: error.details, ...error.more };
        return json(error.status, body, error.headers);
      }
      console.error(name, error instanceof Error ? error.name : typeof error); // its message could quote a prompt
      return json(500, { error: "Internal error", success: false, details: "Something went wrong on our side. Try again later." });
    }
  };
}

/** The request's body as text, of at most `most` bytes; a larger one is never read whole. */
export async function bodyOf(request: Request, most: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    if (size > most) throw new Refusal(413, "Request too large", `At most ${most.toLocaleString("en")} bytes are taken.`);
    parts.push(part);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(whole);
  } catch {
    throw new Refusal(400, "Invalid request", "The body is not UTF-8.");
  }
}

/** A JSON object out of text: nothing in it nested deeper than `depth`, and no text that Postgres cannot hold. */
export function objectOf(text: string, depth = 32): Record<string, unknown> {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Refusal(400, "Invalid request", "The body is not JSON.");
  }
  if (!isObject(found)) throw new Refusal(400, "Invalid request", "The body must be a JSON object.");
  let level: unknown[] = [found];
  for (let n = 0; level.length > 0; n++) {
    if (n > depth) throw new Refusal(400, "Invalid request", `The body is nested deeper than ${depth} levels.`);
    if (level.some(notText)) {
      throw new Refusal(400, "Invalid request", "The body holds a character that is not text (NUL or half a surrogate pair).");
    }
    level = level.flatMap((each) => Array.isArray(each) ? each : isObject(each) ? Object.entries(each).flat() : []);
  }
  return found;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notText(value: unknown): boolean {
  return typeof value === "string" && (value.includes("\0") || !value.isWellFormed());
}

export function variable(...names: string[]): string {
  for (const name of names) {
    const found = Deno.env.get(name);
    if (found) return found;
  }
  throw new Error(`${names[0]} is not set`);
}
