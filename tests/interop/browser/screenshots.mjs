// Renders the images of docs/monitoring.md, one per view, into the given folder.
//
// Takes a minute and a half, to fill the plots.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { temporaryFolder, until, withPage, withServer } from "./harness.mjs";
import { Client, crowd, traffic } from "./load.mjs";

const [folder] = process.argv.slice(2);
const WIDE = { width: 1360, height: 800 };
const PHONE = { width: 390, height: 780 };
const SAMPLES = 80;

const config = join(temporaryFolder(), "natsd.conf");
writeFileSync(
  config,
  `server_name: eu-west-1a
   max_pending: 2MB
   server_tags: [eu, "ssd"]
   accounts {
     SHOP { users [{user: shop, password: shop}] }
     BACKOFFICE { users [{user: office, password: office}] }
   }`,
);

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

await withServer(["-m", "-1", "-c", config], async (server) => {
  const shop = await crowd(server.address, 180, 0, { user: "shop", pass: "shop" });
  await crowd(server.address, 24, 500, { user: "office", pass: "office" });
  const stop = traffic(shop);
  await past(server.address);
  await slow(server.address);
  const origin = `http://${server.monitor}`;
  const shoot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });

  const wide = async (colorScheme, body) =>
    withPage([origin], { viewport: WIDE, colorScheme, timezoneId: "UTC" }, async (page) => {
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
  });
  await wide("dark", async (page) => {
    await go(page, "accounts");
    await shoot(page, "accounts");
    await go(page, "routes");
    await shoot(page, "routes");
    await go(page, "connections?sort=msgs_to");
    await page.locator("tbody th button").nth(2).click();
    await page.getByRole("dialog").locator("dd", { hasText: "/s)" }).first().waitFor();
    await shoot(page, "details");
  });
  await withPage([origin], { viewport: PHONE, colorScheme: "dark", deviceScaleFactor: 1, isMobile: true, hasTouch: true }, async (page) => {
    await page.goto(`${origin}/`);
    await go(page, "connections?sort=msgs_to");
    await shoot(page, "phone");
  });
  stop();
});
process.exit(0);
