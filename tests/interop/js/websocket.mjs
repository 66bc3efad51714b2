// The official JavaScript client over WebSocket, with TLS and without, compressed and not.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { headers, wsconnect } from "@nats-io/nats-core";
import { WebSocket } from "ws";

import { main, next, withServer } from "./harness.mjs";

// A self-signed certificate of localhost, and its key.
const CERTIFICATE = process.env.CERTIFICATE;
const KEY = process.env.KEY;

const TLS = `tls { cert_file: ${JSON.stringify(CERTIFICATE)}, key_file: ${JSON.stringify(KEY)} }`;

/** A server with a WebSocket port. */
async function withWebsocket(set, body, more = "") {
  const dir = mkdtempSync(join(tmpdir(), "natsd-interop-"));
  try {
    const file = join(dir, "server.conf");
    writeFileSync(file, `websocket { host: "127.0.0.1", port: -1, ${set} }\n${more}\n`);
    await withServer(["-c", file], body);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Connects like a page, except for the WebSocket library. */
const open = (server, options = {}, socket = {}) =>
  wsconnect({
    servers: server.websocket,
    wsFactory: async (url) => ({
      encrypted: url.startsWith("wss:"),
      socket: new WebSocket(url, { ca: readFileSync(CERTIFICATE), perMessageDeflate: false, ...socket }),
    }),
    ...options,
  });

/** Typical traffic between WebSocket and plain connections. */
async function converse(server, options = {}, socket = {}, plain = {}) {
  const web = await open(server, options, socket);
  const other = await connect({ servers: server.address, ...plain });
  for (const [from, to] of [[web, other], [other, web], [web, web]]) {
    const sub = to.subscribe("greetings.*");
    await to.flush();
    const data = "0123456789".repeat(10_000);
    const head = headers();
    head.set("A", "b");
    from.publish("greetings.world", data, { headers: head });
    from.publish("greetings.empty");
    const [long, empty] = [await next(sub), await next(sub)];
    assert.equal(long.string(), data);
    assert.equal(long.headers.get("A"), "b");
    assert.equal(empty.data.length, 0);
    const service = to.subscribe("double", {
      callback: (_, message) => message.respond(message.string() + message.string()),
    });
    await to.flush();
    assert.equal((await from.request("double", "ab")).string(), "abab");
    sub.unsubscribe();
    service.unsubscribe();
  }
  await web.drain();
  await other.drain();
}

await main({
  over_ws: () => withWebsocket("no_tls: true", (server) => converse(server)),

  over_wss: () => withWebsocket(TLS, (server) => converse(server)),

  over_ws_compressed: () =>
    withWebsocket("no_tls: true, compression: true", (server) => converse(server, {}, { perMessageDeflate: true })),

  over_wss_compressed: () =>
    withWebsocket(`${TLS}, compression: true`, (server) => converse(server, {}, { perMessageDeflate: { threshold: 0 } })),

  compression_is_agreed_upon_only_where_both_want_it: () =>
    withWebsocket("no_tls: true", async (server) => {
      const socket = new WebSocket(server.websocket, { perMessageDeflate: true });
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
      assert.equal(socket.extensions, "");
      socket.terminate();
    }),

  info_is_of_that_port: () =>
    withWebsocket("no_tls: true", async (server) => {
      const client = await open(server);
      assert.equal(client.info.port, Number(new URL(server.websocket).port));
      assert.equal(client.info.client_ip, "127.0.0.1");
      assert.equal(client.info.tls_required, undefined);
      await client.close();
    }),

  a_password_is_asked_for: () =>
    withWebsocket("no_tls: true, authorization { user: w, password: p }", async (server) => {
      await assert.rejects(open(server, { user: "w", pass: "wrong" }), /Authorization Violation/i);
      await converse(server, { user: "w", pass: "p" });
    }),

  cookies_say_who_it_is: () =>
    withWebsocket(
      "no_tls: true, user_cookie: u, pass_cookie: p",
      async (server) => {
        const cookies = (cookie) => ({ headers: { Cookie: cookie } });
        await assert.rejects(open(server, {}, cookies("u=a; p=wrong")), /Authorization Violation/i);
        await converse(server, {}, cookies("u=a; p=b"), { user: "a", pass: "b" });
      },
      "authorization { user: a, password: b }",
    ),

  pages_from_elsewhere_are_refused: () =>
    withWebsocket('no_tls: true, allowed_origins: ["https://example.org"]', async (server) => {
      await assert.rejects(open(server, { reconnect: false }, { origin: "https://example.com" }));
      const client = await open(server, {}, { origin: "https://example.org" });
      await client.close();
    }),

  // The reference would refuse it compressed.
  the_largest_payload_fits_and_a_larger_one_does_not: () =>
    withWebsocket("no_tls: true", async (server) => {
      const client = await open(server);
      const sub = client.subscribe("big");
      client.publish("big", new Uint8Array(1024 * 1024));
      assert.equal((await next(sub)).data.length, 1024 * 1024);
      assert.throws(() => client.publish("big", new Uint8Array(1024 * 1024 + 1)));
      await client.close();
    }),
});
