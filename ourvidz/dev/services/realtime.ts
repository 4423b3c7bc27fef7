/** What stands where Supabase's Realtime would: there is no such server to be had. A channel is refused at once and says so, which
 * supabase-js hands to `subscribe` as CHANNEL_ERROR; without an answer it would wait, and try again for ever. */

const REASON = "Realtime is not served here (`ourvidz dev up`): ask again for what you watch, as by polling";

type Message = { join_ref: string | null; ref: string | null; topic: string; event: string };

/** Phoenix's message, in either of its two serialisations. */
function read(data: string): Message & { list: boolean } {
  const found = JSON.parse(data);
  if (!Array.isArray(found)) return { ...found, list: false };
  const [join_ref, ref, topic, event] = found;
  return { join_ref, ref, topic, event, list: true };
}

export function realtime(request: Request, cors: Record<string, string>): Response {
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return Response.json({ error: REASON, message: REASON }, { status: 501, headers: cors });
  }
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onmessage = ({ data }) => {
    let message;
    try {
      message = read(data);
    } catch {
      return socket.close(1003, "no message of Phoenix's"); // thrown on, it would end the gateway
    }
    const { join_ref, ref, topic, event, list } = message;
    const refused = event === "phx_join";
    const payload = refused ? { status: "error", response: { reason: REASON } } : { status: "ok", response: {} };
    socket.send(
      JSON.stringify(list ? [join_ref, ref, topic, "phx_reply", payload] : { join_ref, ref, topic, event: "phx_reply", payload }),
    );
  };
  return response;
}
