// Decompresses a brotli file, which Python's standard library cannot: unpack.ts FROM TO
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const [from, to] = Deno.args;
await pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
