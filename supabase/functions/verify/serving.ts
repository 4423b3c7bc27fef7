// Serves the page of `page.ts`.
//
// Supabase shows HTML of functions on a project's custom domain alone: elsewhere it turns it into plain text. There the function redirects to
// VERIFY_PAGE_URL, where the file of `ourvidz age page --write` is hosted; without that it says what is missing.

import { CORS, variable } from "../_shared/http.ts";
import { publishableKey } from "../_shared/project.ts";
import { PAGE, STATEMENT_VERSION } from "./page.ts";

const HEADERS = {
  "Cache-Control": "no-store",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
};

export function handle(request: Request): Response {
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: { ...CORS, "Access-Control-Allow-Methods": "GET" } });
  if (request.method !== "GET" && request.method !== "HEAD") {
    return Response.json({ error: "Method not allowed", success: false, details: "verify takes GET." }, {
      status: 405,
      headers: { Allow: "GET" },
    });
  }
  const elsewhere = Deno.env.get("VERIFY_PAGE_URL");
  if (elsewhere && /^https?:\/\//.test(elsewhere)) return new Response(null, { status: 302, headers: { ...HEADERS, Location: elsewhere } });
  if (isDefaultDomain(request)) {
    const text =
      "This page is not set up yet. Whoever runs this service has to give the project a custom domain, or host the page and set " +
      "VERIFY_PAGE_URL (see `ourvidz age page --help`).\n";
    return new Response(text, { status: 503, headers: { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" } });
  }
  return page();
}

/** Whether the browser asked at *.supabase.co. The gateway names the host that it was asked at. */
function isDefaultDomain(request: Request): boolean {
  const host = request.headers.get("x-forwarded-host") ?? request.headers.get("host") ?? new URL(request.url).host;
  return /(^|\.)supabase\.(co|com|in|red)(:\d+)?$/i.test(host);
}

function page(): Response {
  const nonce = crypto.randomUUID().replaceAll("-", "");
  const url = (Deno.env.get("PUBLIC_SUPABASE_URL") ?? variable("SUPABASE_URL")).replace(/\/+$/, "");
  const config = { url, key: publishableKey(), version: STATEMENT_VERSION, back: Deno.env.get("SITE_URL") ?? "" };
  const filled = PAGE.replaceAll("{{nonce}}", nonce).replace("<!--head-->", "")
    .replace("{{config}}", () => JSON.stringify(config).replaceAll("<", "\\u003c"));
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "img-src blob:",
    `connect-src ${url}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return new Response(filled, { headers: { ...HEADERS, "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy } });
}
