// Renders the images of docs/monitoring.md, one per view, into the given folder.
//
// Takes a minute and a half, to fill the plots.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Server, temporaryFolder, until, withPage, withServer } from "./harness.mjs";
import { Client, crowd, traffic } from "./load.mjs";

const [folder] = process.argv.slice(2);
const WIDE = { width: 1360, height: 800 };
const PHONE = { width: 390, height: 780 };
const SAMPLES = 80;
// The token of the page.
const ADMITTED = { httpCredentials: { username: "me", password: "shots" } };

/** The flags of a member of the cluster; all members have the same accounts. */
function member(name, more = "", ...flags) {
  const config = join(temporaryFolder(), "natsd.conf");
  writeFileSync(
    config,
    `server_name: ${name}
     max_pending: 2MB
     server_tags: [eu, "ssd"]
     http_messages: true
     http_token: shots
     accounts {
       SHOP { ${more && "jetstream: enabled,"} users [{user: shop, password: shop}] }
       BACKOFFICE { users [{user: office, password: office}] }
     }
     ${more}`,
  );
  const cluster = ["--cluster_name", "eu-west", "--cluster", "nats://127.0.0.1:-1"];
  return ["-m", "-1", "-c", config, ...cluster, ...flags];
}

/** Sends a request to the API of streams, and waits for the answer. */
async function ask(client, subject, body) {
  const payload = JSON.stringify(body);
  client.said = "";
  client.tell(`PUB $JS.API.${subject} _R ${payload.length}\r\n${payload}\r\n`);
  await client.hears("io.nats.jetstream.api");
  if (client.said.includes('"error"')) throw new Error(client.said);
}

/** Makes streams with messages and consumers; some of them are busy until stopped. */
async function store(address) {
  const client = await Client.connect(address, { user: "shop", pass: "shop", name: "stock-keeper", lang: "rust", version: "0.51.0" });
  await client.say("SUB _R 1\r\n");
  const streams = [
    ["ORDERS", "file", ["eu", "us", "asia"], ["billing", "shipping", "mail"]],
    ["PAYMENTS", "file", ["card", "transfer"], ["ledger"]],
    ["PRICES", "memory", ["apples", "pears", "plums", "figs"], []],
    ["KV_SETTINGS", "file", [], []],
    ["AUDIT", "file", ["login", "change"], ["archive"]],
  ];
  for (const [name, storage, subjects, consumers] of streams) {
    // Not what the crowd publishes.
    const subject = (key) => (name.startsWith("KV_") ? `$KV.${name.slice(3)}.${key}` : `${name.toLowerCase()}.${key}.new`);
    const more = name === "AUDIT" ? { max_bytes: 100_000 } : {};
    await ask(client, `STREAM.CREATE.${name}`, { name, subjects: [subject("*")], storage, ...more });
    for (const durable of consumers) {
      const config = { name: durable, durable_name: durable, ack_policy: "explicit", description: `what ${durable} has to do` };
      await ask(client, `CONSUMER.CREATE.${name}.${durable}`, { stream_name: name, config });
    }
    for (let i = 0; i < 1_500; i += 1) {
      const payload = JSON.stringify({ id: 4700 + i, item: ["apples", "pears", "plums"][i % 3], count: 1 + (i % 9) });
      client.publish(subject(subjects[i % subjects.length] ?? `key-${i % 40}`), payload);
    }
    await client.say("");
  }
  // Workers: some acknowledge, one falls behind.
  const worker = await Client.connect(address, { user: "shop", pass: "shop", name: "workers", lang: "go", version: "1.47.0" });
  await worker.say("SUB _W.> 1\r\n");
  let rest = "";
  worker.socket.on("data", (text) => {
    const lines = (rest + text).split("\r\n");
    rest = lines.pop();
    for (const line of lines) {
      const reply = /^H?MSG \S+ 1 (\$JS\.ACK\S+)/.exec(line)?.[1];
      if (reply && !reply.includes(".mail.") && !(reply.includes(".shipping.") && Math.random() < 0.2)) worker.publish(reply, "");
    }
  });
  const fetch = (stream, name, batch) => {
    const payload = JSON.stringify({ batch, expires: 1_000_000_000 });
    worker.tell(`PUB $JS.API.CONSUMER.MSG.NEXT.${stream}.${name} _W.${name} ${payload.length}\r\n${payload}\r\n`);
  };
  let turn = 0;
  const timer = setInterval(() => {
    turn += 1;
    for (let i = 0; i < 3 + (turn % 4); i += 1) client.publish(`orders.${["eu", "us", "asia"][i % 3]}.new`, JSON.stringify({ id: 6200 + turn, item: "apples", count: i }));
    client.publish(`prices.${["apples", "pears"][turn % 2]}.new`, String(100 + (turn % 17)));
    if (turn % 5 === 0) client.publish("payments.card.new", JSON.stringify({ order: turn, sum: 12.5 }));
    fetch("ORDERS", "billing", 10);
    fetch("ORDERS", "shipping", 6);
    if (turn % 10 === 0) fetch("ORDERS", "mail", 2);
    if (turn % 5 === 0) fetch("PAYMENTS", "ledger", 5);
  }, 100);
  return () => clearInterval(timer);
}

async function past(address) {
  const shop = { user: "shop", pass: "shop" };
  for (let i = 0; i < 9; i += 1) {
    const client = await Client.connect(address, { ...shop, name: `batch-${i}`, lang: "go", version: "1.47.0" });
    if (i % 4 === 1) client.tell("NONSENSE\r\n");
    else client.leave();
    await client.closed;
  }
  const rejected = await Client.connect(address, { user: "shop", pass: "wrong", name: "mallory" }).catch(() => undefined);
  rejected?.leave();
}

async function slow(address) {
  const shop = { user: "shop", pass: "shop", lang: "java", version: "2.24.0" };
  const stalled = await Client.connect(address, { ...shop, name: "reports-export" });
  await stalled.say("SUB exports.* 1\r\n");
  stalled.stall();
  const publisher = await Client.connect(address, { ...shop, name: "exporter" });
  const payload = "x".repeat(128 << 10);
  for (let i = 0; i < 120; i += 1) await publisher.say(`PUB exports.1 ${payload.length}\r\n${payload}\r\n`);
}

const streams = `jetstream { store_dir: "${temporaryFolder()}", max_memory_store: 1GB, max_file_store: 10GB }`;

await withServer(member("eu-west-1a", streams), async (server) => {
  const { cluster } = await (await fetch(`http://${server.monitor}/varz`, { headers: { authorization: "Bearer shots" } })).json();
  const seed = ["--routes", `nats://127.0.0.1:${cluster.cluster_port}`];
  const others = [await Server.start(...member("eu-west-1b", "", ...seed)), await Server.start(...member("eu-west-1c", "", ...seed))];
  for (const [number, { address }] of others.entries()) await crowd(address, 40, 600 + 100 * number, { user: "shop", pass: "shop" });
  const shop = await crowd(server.address, 180, 0, { user: "shop", pass: "shop" });
  await crowd(server.address, 24, 500, { user: "office", pass: "office" });
  const stops = [traffic(shop), await store(server.address)];
  await past(server.address);
  await slow(server.address);
  const origin = `http://${server.monitor}`;
  const shoot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });

  const wide = async (colorScheme, body) =>
    withPage([origin], { ...ADMITTED, viewport: WIDE, colorScheme, timezoneId: "UTC" }, async (page) => {
      await page.goto(`${origin}/`);
      const path = page.locator("figure", { hasText: "Messages" }).locator("path.line").first();
      await body(page, async (count) => {
        for (let i = 0; i < 9; i += 1) {
          const points = async () => ((await path.getAttribute("d")) ?? "").split("L").length;
          if (await until("samples", async () => (await points()) > count).catch(() => false)) return;
        }
      });
    });
  const go = async (page, view) => {
    await page.evaluate((view) => (location.hash = `#/${view}`), view);
    await page.waitForResponse((answer) => answer.url().includes("z"));
    // Rates need two samples.
    for (let i = 0; i < 4; i += 1) await page.waitForResponse((answer) => answer.url().endsWith("varz"));
  };

  await wide("light", async (page, samples) => {
    await samples(SAMPLES);
    await shoot(page, "overview");
    await go(page, "connections?sort=bytes_to");
    await shoot(page, "connections");
    await go(page, "closed");
    await shoot(page, "closed");
    await go(page, "server");
    await shoot(page, "server");
    await go(page, "streams?sort=messages");
    await shoot(page, "streams");
  });
  await wide("dark", async (page) => {
    await go(page, "accounts");
    await shoot(page, "accounts");
    await go(page, "routes");
    await page.locator(".mesh text", { hasText: "/s" }).nth(1).waitFor();
    await shoot(page, "routes");
    await go(page, "connections?sort=msgs_to");
    await page.locator("tbody th button").nth(2).click();
    await page.getByRole("dialog").locator("dd", { hasText: "/s)" }).first().waitFor();
    await shoot(page, "details");
    await page.keyboard.press("Escape");
    await go(page, "streams");
    await page.locator("tbody th button", { hasText: "ORDERS" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Newest" }).click();
    await dialog.getByText("20 messages").waitFor();
    await dialog.locator("td:nth-child(3)", { hasText: /\d/ }).first().waitFor();
    await shoot(page, "stream");
  });
  await withPage([origin], { ...ADMITTED, viewport: PHONE, colorScheme: "dark", deviceScaleFactor: 1, isMobile: true, hasTouch: true }, async (page) => {
    await page.goto(`${origin}/`);
    await go(page, "connections?sort=msgs_to");
    await shoot(page, "phone");
  });
  for (const stop of stops) stop();
  for (const other of others) await other.stop();
});
process.exit(0);
