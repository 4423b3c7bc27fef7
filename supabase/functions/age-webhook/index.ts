// age-webhook: where a provider of age verification says what became of a user's case. Its signature is checked (Standard Webhooks), its fields
// are read by a table, and the database decides (public.age_message): once by message id, never over something newer.

import { handler } from "./serving.ts";

Deno.serve(handler);
