// Takes reports of outputs from anyone: a page with a form that works without scripts, and JSON for front ends. What is sent goes to the
// rpc `file_report` with the service key; the sender's address goes as a hash, which the database salts again.
//
// Supabase shows HTML of functions on a project's custom domain alone. Elsewhere a GET leads to REPORT_PAGE_URL (the file of
// `ourvidz reports page --write`), and a form is answered with plain text.

import { soon } from "../_shared/asking.ts";
import { bodyOf, CORS, isObject, json, objectOf, Refusal, UUID } from "../_shared/http.ts";
import { asService, secretKey } from "../_shared/project.ts";
import { CATEGORIES, FORM, PAGE } from "./page.ts";

const LARGEST = 32 * 1024; // bytes
const FIELDS = ["output", "category", "said", "contact", "signature", "good_faith", "website", "id"] as const;
const LONGEST: Readonly<Record<string, number>> = { output: 500, said: 4000, contact: 254, signature: 200 };
const HEADERS = {
  "Cache-Control": "no-store",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};
export type Fields = Readonly<Record<(typeof FIELDS)[number], string>>;
export type File = (filed: Readonly<Record<string, unknown>>) => Promise<{ hours: number }>;

export async function handle(request: Request, file: File = intoDatabase): Promise<Response> {
  const asJson = (request.headers.get("content-type") ?? "").startsWith("application/json");
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: CORS });
  if (request.method === "GET" || request.method === "HEAD") return form(request);
  let given: Fields | undefined;
  try {
    if (request.method !== "POST") throw new Refusal(405, "Method not allowed", "report takes GET and POST.", {}, { Allow: "GET, POST" });
    given = await read(request, asJson);
    const checked = check(given);
    // A field that no person sees was filled in: a program, which is told nothing.
    const { hours } = given.website
      ? { hours: CATEGORIES[checked.category]!.hours }
      : await file({ ...checked, source: await source(request) });
    return received(request, asJson, checked.id, hours);
  } catch (error) {
    const refused = error instanceof Refusal
      ? error
      : new Refusal(500, "Internal error", "Something went wrong on our side, and the report was not taken. Send it again.");
    if (refused !== error) console.error("report", error instanceof Error ? error.name : typeof error);
    if (asJson) {
      return json(refused.status, { error: refused.message, success: false, details: refused.details, ...refused.more }, refused.headers);
    }
    return form(request, refused, given);
  }
}

/** The fields as text, whatever the body's form. Those that are not known are left out. */
async function read(request: Request, asJson: boolean): Promise<Fields> {
  const body = await bodyOf(request, LARGEST);
  const found: Record<string, unknown> = asJson ? objectOf(body, 2) : Object.fromEntries(new URLSearchParams(body));
  const text = (name: string): string => {
    const value = found[name] ?? "";
    if (value === true) return "yes";
    if (value === false) return "";
    if (typeof value !== "string") throw new Refusal(400, "Invalid request", `${name} must be text.`, { field: name });
    if (value.includes("\0") || !value.isWellFormed()) {
      throw new Refusal(400, "Invalid request", `${name} holds a character that is not text.`, { field: name });
    }
    return value.trim().replaceAll("\r\n", "\n");
  };
  return Object.fromEntries(FIELDS.map((name) => [name, text(name)])) as Record<(typeof FIELDS)[number], string>;
}

function check(given: Fields) {
  const wrong = (field: string, details: string) => new Refusal(400, "Invalid request", details, { field });
  if (!Object.hasOwn(CATEGORIES, given.category)) throw wrong("category", "Say what is wrong with it: choose one of the reasons.");
  for (const [name, longest] of Object.entries(LONGEST)) {
    if ([...given[name as keyof Fields]].length > longest) {
      throw wrong(name, `${name} may have at most ${longest.toLocaleString("en")} characters.`);
    }
  }
  if (!given.output && !given.said) throw wrong("output", "Say which one it is: give its link or id, or say where you saw it.");
  if (given.contact && !/^[^\s@<>]+@[^\s@<>]+$/.test(given.contact)) throw wrong("contact", "This is not a valid email address.");
  const text = (value: string): string | null => value || null;
  return {
    id: UUID.test(given.id) ? given.id.toLowerCase() : crypto.randomUUID(),
    category: given.category,
    output: text(given.output),
    said: text(given.said),
    contact: text(given.contact),
    signature: text(given.signature),
    good_faith: given.good_faith !== "",
  };
}

/** Whose reports are counted together: a hash of the address, and of an IPv6 address its /64, which one household has. The key makes it
 * useless to whoever has the hash alone. */
async function source(request: Request): Promise<string> {
  const key = await crypto.subtle.importKey("raw", bytes(secretKey()), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const hash = new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(`report ${network(address(request.headers))}`)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The address that the last proxy we trust saw. What stands before it in x-forwarded-for anybody can write, and cf-connecting-ip too where no
 * Cloudflare is in front, as at supabase.co. REPORT_PROXIES: how many proxies are in front (1 by default). */
export function address(headers: Headers): string {
  const known = headers.get("cf-connecting-ip");
  if (known && /^https:\/\/[a-z0-9-]+\.supabase\.(co|in)\/?$/.test(Deno.env.get("SUPABASE_URL") ?? "")) return known.trim();
  const hops = (headers.get("x-forwarded-for") ?? "").split(",").map((hop) => hop.trim()).filter((hop) => hop !== "");
  const proxies = Math.max(1, Number(Deno.env.get("REPORT_PROXIES") ?? 1) || 1);
  return hops.at(-proxies) ?? hops[0] ?? "unknown";
}

export function network(ip: string): string {
  if (!ip.includes(":") || ip.includes(".")) return ip.replace(/^::ffff:/i, "");
  const [before = "", after] = ip.toLowerCase().split("::");
  const left = before.split(":").filter((part) => part !== "");
  const right = (after ?? "").split(":").filter((part) => part !== "");
  const middle = after === undefined ? [] : Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  return [...left, ...middle, ...right].slice(0, 4).map((part) => part.replace(/^0+(?=.)/, "")).join(":");
}

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

async function intoDatabase(filed: Readonly<Record<string, unknown>>): Promise<{ hours: number }> {
  const { data, error, status } = await asService().rpc("file_report", filed).abortSignal(soon());
  if (error?.code?.startsWith("OV")) {
    const wait = error.code === "OV016" ? { "Retry-After": "3600" } : undefined;
    throw new Refusal(status, status === 429 ? "Too many requests" : "Invalid request", error.message, { code: error.code }, wait);
  }
  if (error || !isObject(data)) {
    console.error("report", "was not taken", error?.code);
    throw new Refusal(
      503,
      "Not available",
      "The report was not taken: the service does not answer just now. Send it again in some minutes.",
    );
  }
  return { hours: Number(data["hours"]) };
}

// -- pages ------------------------------------------------------------------------------------------------------------------------------

function received(request: Request, asJson: boolean, id: string, hours: number): Response {
  const within = hours % 24 === 0 && hours > 48 ? `${hours / 24} days` : `${hours} hours`;
  if (asJson) return json(200, { success: true, report: id, hours });
  if (isDefaultDomain(request)) return plain(200, `Your report was received. It is decided within ${within}.\nIts number: ${id}\n`);
  return page(
    200,
    `<h1>Your report was received</h1>
  <p class="note good" role="status">It is decided within ${within}.</p>
  <p>Its number is <code>${id}</code>. Keep it: with it you can ask what became of the report. If you gave an email address, we answer there.</p>`,
  );
}

function form(request: Request, refused?: Refusal, given?: Fields): Response {
  const status = refused?.status ?? 200;
  if (isDefaultDomain(request)) {
    const elsewhere = Deno.env.get("REPORT_PAGE_URL");
    const asked = new URL(request.url).search;
    if (refused) return plain(status, `The report was not taken. ${refused.details}\n`, refused.headers);
    if (elsewhere && /^https?:\/\//.test(elsewhere)) {
      return new Response(null, { status: 302, headers: { ...HEADERS, Location: elsewhere + asked } });
    }
    const contact = Deno.env.get("REPORT_CONTACT");
    return plain(
      503,
      `This page is not set up yet.${
        contact ? ` Report by email: ${contact}` : " Whoever runs this service has to set REPORT_PAGE_URL or REPORT_CONTACT."
      }\n`,
    );
  }
  const output = given?.output ?? new URL(request.url).searchParams.get("o")?.slice(0, 500) ?? "";
  const values: Record<string, string> = {
    message: refused ? `<p class="note bad" role="alert">The report was not taken. ${escape(refused.details)}</p>` : "",
    action: "", // back to where it was shown
    output: escape(output),
    said: escape(given?.said ?? ""),
    contact: escape(given?.contact ?? ""),
    signature: escape(given?.signature ?? ""),
    good_faith: given?.good_faith ? " checked" : "",
    id: given && UUID.test(given.id) ? given.id.toLowerCase() : crypto.randomUUID(),
    categories: Object.entries(CATEGORIES).map(([name, { label }]) =>
      `<label class="choice"><input type="radio" name="category" value="${name}" required${
        given?.category === name ? " checked" : ""
      }><span>${escape(label)}</span></label>`
    ).join("\n      "),
  };
  // One pass: what was typed is filled in once, and looked through for marks no more.
  return page(status, FORM.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? ""), refused?.headers);
}

function page(status: number, body: string, more: Readonly<Record<string, string>> = {}): Response {
  const nonce = crypto.randomUUID().replaceAll("-", "");
  const filled = PAGE.replace(/\{\{(nonce|body)\}\}/g, (_, name: string) => name === "body" ? body : nonce);
  const policy = `default-src 'none'; style-src 'nonce-${nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`;
  return new Response(filled, {
    status,
    headers: { ...HEADERS, "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy, ...more },
  });
}

const plain = (status: number, text: string, more: Readonly<Record<string, string>> = {}): Response =>
  new Response(text, { status, headers: { ...HEADERS, "Content-Type": "text/plain; charset=utf-8", ...more } });

/** Whether the browser asked at *.supabase.co. The gateway names the host that it was asked at. */
function isDefaultDomain(request: Request): boolean {
  const host = request.headers.get("x-forwarded-host") ?? request.headers.get("host") ?? new URL(request.url).host;
  return /(^|\.)supabase\.(co|com|in|red)(:\d+)?$/i.test(host);
}

export const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[sign]!);
