// The official JavaScript client in a web page, over natsd's WebSocket.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

import { main, same, withPage, withServer } from "./harness.mjs";

// A self-signed certificate of localhost, and its key.
const CERTIFICATE = process.env.CERTIFICATE;
const KEY = process.env.KEY;

const TLS = `tls { cert_file: ${JSON.stringify(CERTIFICATE)}, key_file: ${JSON.stringify(KEY)} }`;
const USER = "authorization { user: w, password: p }";

// Bundles the client as one module for the page.
const { outputFiles } = await build({
  stdin: { contents: 'export { headers, wsconnect } from "@nats-io/nats-core";', resolveDir: import.meta.dirname },
  bundle: true,
  format: "esm",
  write: false,
});
const CLIENT = outputFiles[0].text;

/** A web server with an empty page and the client, over HTTP or HTTPS. */
async function withSite(body) {
  const serve = (request, response) => {
    const isClient = request.url === "/nats.js";
    response.setHeader("Content-Type", isClient ? "text/javascript" : "text/html");
    // The empty icon prevents a request for one.
    response.end(isClient ? CLIENT : '<!doctype html><link rel="icon" href="data:,"><title>page</title>');
  };
  // HTTPS pages may open unencrypted connections to localhost only.
  const site = createServer({ cert: readFileSync(CERTIFICATE), key: readFileSync(KEY) }, serve);
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  try {
    await body(`https://localhost:${site.address().port}`);
  } finally {
    site.closeAllConnections();
    site.close();
  }
}

/** Opens a page of the site, and a server with these WebSocket options. */
async function withEnds(set, body) {
  const dir = mkdtempSync(join(tmpdir(), "natsd-interop-"));
  try {
    await withSite(async (origin) => {
      const file = join(dir, "server.conf");
      const origins = `allowed_origins: [${JSON.stringify(origin)}]`;
      writeFileSync(file, `websocket { host: "127.0.0.1", port: -1, ${origins}, ${USER}, ${set} }\n`);
      await withServer(["-c", file], async (server) => {
        const url = server.websocket.replace("127.0.0.1", "localhost");
        await withPage([origin, url], { ignoreHTTPSErrors: true }, async (page, seen) => {
          await page.goto(`${origin}/`);
          await body(page, url, seen);
        });
      });
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Runs in the page: publishes, subscribes, requests and replies; returns the received messages. */
async function converse({ url, user }) {
  const { headers, wsconnect } = await import("/nats.js");
  const client = await wsconnect({ servers: url, user, pass: "p", reconnect: false });
  const got = [];
  const sub = client.subscribe("greetings.*", { max: 3 });
  const head = headers();
  head.set("A", "b");
  client.publish("greetings.world", "hello", { headers: head });
  client.publish("greetings.long", "0123456789".repeat(10_000));
  client.publish("greetings.bytes", Uint8Array.from({ length: 256 }, (_, byte) => byte));
  for await (const message of sub) {
    got.push([message.subject, message.headers?.get("A") ?? "", message.data.length]);
  }
  client.subscribe("double", { callback: (_, message) => message.respond(message.string() + message.string()) });
  got.push((await client.request("double", "ab")).string());
  got.push(client.info.port === Number(new URL(url).port));
  // The frames: a thousand short messages each way.
  const many = client.subscribe("many", { max: 1000 });
  for (let count = 0; count < 1000; count++) client.publish("many", `${count}`);
  let next = 0;
  for await (const message of many) if (Number(message.string()) === next) next += 1;
  got.push(next);
  await client.drain();
  return got;
}

const EXPECTED = [
  ["greetings.world", "b", 5],
  ["greetings.long", "", 100_000],
  ["greetings.bytes", "", 256],
  "abab",
  true,
  1000,
];

const talks = (set) => () =>
  withEnds(set, async (page, url) => {
    same(await page.evaluate(converse, { url, user: "w" }), EXPECTED, "what came");
  });

/** Returns the extensions that a page negotiates. */
const extensions = (page, url) =>
  page.evaluate(
    (url) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve(socket.extensions);
        socket.onerror = () => reject(new Error("not open"));
      }),
    url,
  );

await main({
  "a page publishes and subscribes over ws://": talks("no_tls: true"),
  "a page publishes and subscribes over wss://": talks(TLS),
  "a page publishes and subscribes over ws://, compressed": talks("no_tls: true, compression: true"),
  "a page publishes and subscribes over wss://, compressed": talks(`${TLS}, compression: true`),

  "a page negotiates compression if the server enables it": () =>
    withEnds("no_tls: true, compression: true", async (page, url) => {
      assert.match(await extensions(page, url), /^permessage-deflate/);
    }),

  "a page negotiates no compression if the server disables it": () =>
    withEnds("no_tls: true", async (page, url) => {
      same(await extensions(page, url), "", "extensions");
    }),

  "a page without the password is refused": () =>
    withEnds("no_tls: true", async (page, url) => {
      await assert.rejects(page.evaluate(converse, { url, user: "x" }), /Authorization Violation/i);
    }),

  "a page of another origin is refused": () =>
    withEnds("no_tls: true", async (page, url, seen) => {
      // The browser reports the server's response.
      seen.expected.push(/Unexpected response code: 403/);
      await withSite(async (elsewhere) => {
        await page.goto(`${elsewhere}/`);
        seen.requests.splice(0);
        await assert.rejects(extensions(page, url), /not open/);
        seen.requests.splice(0);
      });
    }),
});
