// report: the page where anyone reports an output, without an account. Each output's link leads here.

import { handle } from "./serving.ts";

Deno.serve((request) => handle(request));
