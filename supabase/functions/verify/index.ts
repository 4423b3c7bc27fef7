// verify: the page where a person asks to have their age verified and attests the pictures that they bring. Refusals link to it.

import { handle } from "./serving.ts";

Deno.serve(handle);
