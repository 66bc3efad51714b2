// natsd's live page, in ordinary use.
//
// CONNECTIONS: number of connections in the largest scenario, 2,000 by default.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { main, same, temporaryFolder, until, withPage, withServer } from "./harness.mjs";
import { Client, crowd, traffic } from "./load.mjs";

const MANY = Number(process.env.CONNECTIONS || 2_000);
// Without it the server's own subscriptions have the id 1.
const UNCOUNTED = "no_system_account: true";

const VIEWS = ["overview", "connections", "closed", "accounts", "streams", "routes", "server"];
// JSON has no icon, but the browser requests one. The pattern matches its error if the server is
// down.
const NO_ICON = /favicon\.ico/;
const GONE = [/ERR_CONNECTION_(REFUSED|RESET)/, /ERR_EMPTY_RESPONSE/];

/** Creates a configuration file with this content. */
function config(text) {
  const path = join(temporaryFolder(), "natsd.conf");
  writeFileSync(path, text);
  return ["-c", path];
}

/** Runs `body` with a server and its page, opened at a view. */
function withView(view, body, { flags = [], options = {}, path = "/" } = {}) {
  return withServer(["-m", "-1", ...flags], async (server) => {
    const origin = `http://${server.monitor}`;
    await withPage([origin], options, async (page, seen) => {
      const tools = new Tools(page, server, seen, `${origin}${path}`);
      await tools.open(view);
      await body(tools, page, server, seen);
    });
  });
}

/** Returns the flags of a server with streams in a directory of its own. */
function withStreams() {
  return ["-js", "-sd", temporaryFolder()];
}

/** Creates a stream of these subjects, with messages: `[subject, payload, headers]`. */
async function store(client, name, subjects, messages) {
  await ask(client, `STREAM.CREATE.${name}`, { name, subjects });
  for (const [subject, payload, headers] of messages) {
    const block = headers ? `NATS/1.0\r\n${headers}\r\n\r\n` : "";
    const sizes = headers ? `${block.length} ${block.length + payload.length}` : payload.length;
    await client.say(`${headers ? "HPUB" : "PUB"} ${subject} ${sizes}\r\n${block}${payload}\r\n`);
  }
}

/** Sends a request to the API of streams, and waits for the answer. */
async function ask(client, subject, body) {
  const payload = JSON.stringify(body);
  await client.say("SUB _R 99\r\n");
  client.said = "";
  client.tell(`PUB $JS.API.${subject} _R ${payload.length}\r\n${payload}\r\n`);
  await client.hears("io.nats.jetstream.api");
  await client.say("UNSUB 99\r\n");
}

class Tools {
  constructor(page, server, seen, url) {
    Object.assign(this, { page, server, seen, url });
  }

  async open(view) {
    await this.page.goto(`${this.url}#/${view}`);
    await this.state("Live");
  }

  async go(view) {
    await this.page.evaluate((view) => (location.hash = `#/${view}`), view);
    await this.page.locator(`#views a[href="#/${view.split("?")[0]}"][aria-current=page]`).waitFor();
  }

  state(text) {
    return this.page.locator("#controls [role=status]", { hasText: text }).waitFor();
  }

  /** Returns the texts of a column, by its name. */
  column(name) {
    return this.page.evaluate((name) => {
      const table = document.querySelector("main table");
      const heads = [...table.querySelectorAll("thead th")].map((th) => th.firstChild.textContent);
      const i = heads.indexOf(name);
      return [...table.querySelectorAll("tbody tr")].map((tr) => tr.children[i].textContent);
    }, name);
  }

  /** Waits until the rows are as expected, and returns the column. */
  rows(what, column, holds) {
    return until(what, async () => {
      const texts = await this.column(column);
      return holds(texts) && texts;
    });
  }

  /** Returns how often a path was requested. */
  asked(part = "varz") {
    return this.seen.requests.filter((url) => url.includes(part)).length;
  }
}

const isSorted = (numbers, sign) => numbers.every((number, i) => i === 0 || sign * (number - numbers[i - 1]) >= 0);

await main({
  "each view opens without errors and without requests to other sites": () =>
    withView("overview", async (tools, page, server) => {
      const clients = await crowd(server.address, 10);
      same(await page.title(), `${await page.locator("#name").textContent()} · natsd`, "title");
      for (const view of VIEWS) {
        const from = tools.asked();
        await tools.go(view);
        await until(`${view} asks`, () => tools.asked() > from + 1);
      }
      await tools.go("connections");
      await tools.rows("10 connections", "Name", (names) => names.length === 10);
      for (const client of clients) client.leave();
    }),

  "without JavaScript the links to the endpoints are there, and lead to them": () =>
    withServer(["-m", "-1"], async (server) => {
      const origin = `http://${server.monitor}`;
      await withPage([origin], { javaScriptEnabled: false }, async (page, seen) => {
        seen.expected.push(NO_ICON);
        await page.goto(`${origin}/`);
        await page.getByText("needs JavaScript").waitFor();
        await page.getByRole("link", { name: "/varz" }).click();
        await page.waitForURL(`${origin}/varz`);
        await page.getByText('"server_id"').waitFor();
      });
    }),

  "plots and rates move while messages flow": () =>
    withView("overview", async (tools, page, server) => {
      const clients = await crowd(server.address, 20);
      const stop = traffic(clients);
      const plot = page.locator("figure", { hasText: "Messages" });
      const rate = async () => parseFloat(await plot.locator("dd").nth(1).textContent());
      await until("messages flow", async () => (await rate()) > 10);
      const drawn = async () => (await plot.locator("path.line-1.line").getAttribute("d")).split("L").length;
      await until("the plot has several points", async () => (await drawn()) > 3);
      const told = await plot.locator("svg").getAttribute("aria-label");
      if (!/^Messages: in .*\/s, out .*\/s$/.test(told)) throw new Error(`the plot is called ${told}`);
      await plot.locator("svg").focus();
      await page.keyboard.press("ArrowLeft");
      await plot.getByText("ago").waitFor();
      await page.keyboard.press("Escape");
      stop();
      await until("the rates have stopped", async () => (await rate()) === 0);
    }),

  "the server sorts connections in both directions": () =>
    withView("connections", async (tools, page, server) => {
      await crowd(server.address, 60);
      const head = page.locator("th", { has: page.getByRole("button", { name: "Subs", exact: true }) });
      const numbers = (texts) => texts.map(Number);
      await head.getByRole("button").click();
      const most = await tools.rows("most first", "Subs", (texts) => texts.length === 50 && isSorted(numbers(texts), -1) && texts[0] === "3");
      same(await head.getAttribute("aria-sort"), "descending", "aria-sort");
      await head.getByRole("button").click();
      await tools.rows("fewest first", "Subs", (texts) => texts.length === 50 && isSorted(numbers(texts), 1) && texts[0] === "1");
      same(await head.getAttribute("aria-sort"), "ascending", "aria-sort");
      same(most[0], "3", "the most");
      if (!tools.asked("sort=subs")) throw new Error("no sorted request was sent");
      // The order is part of the URL.
      await page.reload();
      await tools.rows("fewest first, still", "Subs", (texts) => texts.length === 50 && isSorted(numbers(texts), 1));
    }),

  "pages have different rows": () =>
    withView("connections", async (tools, page, server) => {
      await crowd(server.address, 120);
      await tools.rows("the first page", "cid", (cids) => cids.length === 50 && cids[0] === "1");
      await page.getByRole("button", { name: "Next page" }).click();
      await tools.rows("the second", "cid", (cids) => cids.length === 50 && cids[0] === "51");
      await page.getByRole("button", { name: "Last page" }).click();
      await tools.rows("the last", "cid", (cids) => cids.length === 20 && cids[0] === "101");
      await page.getByText("101–120 of 120").waitFor();
      await page.getByRole("button", { name: "cid" }).click();
      await tools.rows("from the end", "cid", (cids) => cids.length === 50 && cids[0] === "120" && cids[49] === "71");
      await page.getByLabel("Rows a page").selectOption("250");
      await tools.rows("all", "cid", (cids) => cids.length === 120 && cids[119] === "1");
    }, { flags: config(UNCOUNTED) }),

  "a search covers all connections and reports that": () =>
    withView("connections", async (tools, page, server) => {
      await crowd(server.address, 60);
      await page.keyboard.press("/");
      await page.keyboard.type("ORDERS-4");
      await tools.rows("those found", "Name", (names) => names.length === 2 && names.every((name) => name.startsWith("orders-4")));
      await page.getByText("2 of all connections have “ORDERS-4” in name, address, library, account, user or cid").waitFor();
      await page.getByRole("searchbox").fill("nobody");
      await page.getByText("0 of all connections have “nobody”").waitFor();
      await page.getByText("None.").waitFor();
    }),

  "details of a connection are shown, with subscriptions on demand": () =>
    withView("connections", async (tools, page, server) => {
      const clients = await crowd(server.address, 12);
      const greedy = await Client.connect(server.address, { name: "greedy" });
      await greedy.say(Array.from({ length: 1500 }, (_, i) => `SUB many.${i} ${i}\r\n`).join(""));
      const opener = page.getByRole("button", { name: "billing-1", exact: true });
      await opener.click();
      const dialog = page.getByRole("dialog");
      await dialog.getByText("billing.events.*").waitFor();
      await dialog.getByText("nats.js 3.3.1").waitFor();
      if (!tools.seen.requests.some((url) => /cid=\d+.*subs=detail/.test(url))) throw new Error("not asked by cid");
      clients[1].publish("billing.events.1");
      await dialog.locator("dd", { hasText: /^1 \(/ }).first().waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
      same(await opener.evaluate((button) => document.activeElement === button), true, "focus is where it was");
      const before = tools.asked("subs=detail");
      await page.getByRole("button", { name: "greedy" }).click();
      await dialog.getByRole("button", { name: "Load 1,500" }).waitFor();
      same(tools.asked("subs=detail"), before, "many subscriptions are requested on demand only");
      await dialog.getByRole("button", { name: "Load 1,500" }).click();
      await dialog.getByText("1,500 subscriptions; the first 500 are shown").waitFor();
      await dialog.getByRole("searchbox").fill("many.149");
      await dialog.getByText("11 of 1,500 have “many.149” in subject or queue group").waitFor();
      await dialog.getByRole("button", { name: "Close" }).click();
    }),

  "text from clients stays text": () =>
    withView("connections", async (tools, page, server) => {
      const evil = "<img src=/varz?evil onerror=globalThis.evil=1>";
      const client = await Client.connect(server.address, { name: evil, lang: "<script>evil=1</script>", version: "\"'><b>" });
      await client.say("SUB <img/src=x/onerror=evil=1> <queue> 1\r\n");
      const gone = await Client.connect(server.address, { name: `${evil}gone` });
      await gone.leave();
      await tools.rows("its name", "Name", ([name]) => name === evil);
      await page.getByRole("button", { name: evil }).click();
      await page.getByRole("dialog").getByText("<img/src=x/onerror=evil=1>").waitFor();
      await page.keyboard.press("Escape");
      for (const view of ["closed", "overview"]) {
        await tools.go(view);
        await page.getByText(`${evil}gone`).first().waitFor();
      }
      same(await page.evaluate(() => [globalThis.evil ?? null, document.querySelectorAll("img, b, script:not([src])").length]), [null, 0], "markup");
      same(tools.asked("evil"), 0, "requests");
    }),

  "closed connections are listed with the reason, slow consumers included": () =>
    withView(
      "closed",
      async (tools, page, server) => {
        const wrong = await Client.connect(server.address, { name: "wrong" });
        wrong.tell("NONSENSE\r\n");
        await wrong.closed;
        const slow = await Client.connect(server.address, { name: "slow" });
        await slow.say("SUB big 1\r\n");
        slow.stall();
        const publisher = await Client.connect(server.address, { name: "publisher" });
        await tools.rows("who was wrong", "Reason", ([reason]) => reason === "Protocol Violation");
        const payload = "x".repeat(256 << 10);
        const cut = until("the slow consumer is closed", async () => {
          await publisher.say(`PUB big ${payload.length}\r\n${payload}\r\n`);
          const varz = await (await fetch(`http://${server.monitor}/varz`)).json();
          return varz.slow_consumers === 1;
        });
        await cut;
        await tools.rows("who was slow", "Reason", ([reason]) => reason.startsWith("Slow Consumer"));
        // Reasons are counted; hovering over one lists the clients.
        const reason = page.locator(".reasons").getByRole("button", { name: "Slow Consumer" });
        await reason.waitFor();
        await reason.click();
        await tools.rows("only slow ones", "Name", (names) => names.length === 1 && names[0] === "slow");
        await page.getByText(/1 of all closed connections have “Slow Consumer/).waitFor();
        await tools.go("overview");
        await page.locator(".tiles div", { hasText: "Slow consumers" }).locator("dd.warn", { hasText: "1" }).waitFor();
        slow.leave();
      },
      { flags: config("max_pending: 1MB") },
    ),

  "accounts are listed, sorted and filtered, and lead to their connections": () =>
    withView(
      "accounts",
      async (tools, page, server) => {
        for (const [user, count] of [["a", 3], ["b", 1]]) {
          for (let i = 0; i < count; i += 1) {
            await Client.connect(server.address, { user, pass: user, name: `${user}${i}` });
          }
        }
        await tools.rows("both", "Account", (names) => names.join() === "ALPHA,BETA");
        await tools.rows("what they share", "Mappings", (counts) => counts.join() === "1,0");
        await page.getByRole("button", { name: "Conns" }).click();
        await tools.rows("most first", "Conns", (counts) => counts.join() === "3,1");
        await page.getByRole("button", { name: "Conns" }).click();
        await tools.rows("fewest first", "Conns", (counts) => counts.join() === "1,3");
        await page.getByLabel("without connections too").check();
        await tools.rows("all", "Account", (names) => names.includes("$SYS"));
        await page.getByRole("searchbox").fill("alp");
        await page.getByText(/^1 of \d+ accounts have “alp” in their name$/).waitFor();
        await page.getByRole("button", { name: "ALPHA" }).click();
        await tools.rows("its connections", "Name", (names) => names.join() === "a0,a1,a2");
        await page.getByRole("button", { name: "Only of account ALPHA: show all" }).click();
        await tools.rows("all again", "Name", (names) => names.length === 4);
      },
      {
        flags: config(
          "accounts { ALPHA { users [{user: a, password: a}], mappings { x: y } }, BETA { users [{user: b, password: b}] } }",
        ),
      },
    ),

  "streams and consumers are listed with rates and what waits, and no messages unless that is configured": () =>
    withView(
      "streams",
      async (tools, page, server) => {
        await page.getByText("No streams.").waitFor();
        same(await page.locator("thead").first().isVisible(), false, "a table without rows");
        const client = await Client.connect(server.address);
        await store(client, "ORDERS", ["orders.>"], []);
        await store(client, "OTHER", ["other"], []);
        await tools.rows("both", "Stream", (names) => names.join() === "ORDERS,OTHER");
        for (let i = 0; i < 30; i += 1) client.publish("orders.new", "x");
        await ask(client, "CONSUMER.CREATE.ORDERS.worker", { stream_name: "ORDERS", config: { name: "worker", durable_name: "worker", ack_policy: "explicit" } });
        await tools.rows("its messages", "Msgs", (counts) => counts.join() === "30,0");
        await tools.rows("its consumer", "Consumers", (counts) => counts.join() === "1,0");
        const timer = setInterval(() => client.publish("other", "x"), 5);
        await tools.rows("a rate", "In/s", ([, rate]) => parseFloat(rate) > 0);
        clearInterval(timer);
        await page.getByRole("button", { name: "Msgs" }).click();
        await tools.rows("the largest first", "Stream", (names) => names.join() === "OTHER,ORDERS");
        await page.getByRole("searchbox").fill("ord");
        await page.getByText("1 of all streams have “ord” in name or account").waitFor();
        await page.getByRole("button", { name: "ORDERS", exact: true }).click();
        const dialog = page.getByRole("dialog");
        const worker = dialog.locator("tr", { hasText: "worker" });
        await worker.waitFor();
        same((await worker.locator("td").allTextContents()).slice(0, 5), ["worker", "pull", "–", "30", "0"], "the consumer");
        await dialog.getByText("the option http_messages is off").waitFor();
        same(await dialog.getByRole("button", { name: "Newest" }).isVisible(), false, "messages can be asked for");
        const refused = await fetch(`http://${server.monitor}/messagez?acc=$G&stream=ORDERS`);
        same([refused.status, tools.asked("messagez")], [404, 0], "messages");
      },
      { flags: withStreams() },
    ),

  "messages are shown on demand in pages, as text": () =>
    withView(
      "streams",
      async (tools, page, server) => {
        const evil = "<img src=/varz?evil onerror=globalThis.evil=1>";
        const client = await Client.connect(server.address);
        const messages = Array.from({ length: 44 }, (_, i) => [`orders.${i % 2}`, `number ${i + 1}`]);
        await store(client, "ORDERS", ["orders.>"], [...messages, ["orders.<b>", evil, `Evil: ${evil}`], ["orders.0", "\u0000\u0001"]]);
        await tools.rows("it", "Msgs", (counts) => counts.join() === "46");
        await page.getByRole("button", { name: "ORDERS", exact: true }).click();
        const dialog = page.getByRole("dialog");
        const rows = (what, holds) =>
          until(what, async () => {
            const texts = await dialog.locator(".messages tbody tr").evaluateAll((lines) => lines.map((tr) => [...tr.children].map((td) => td.textContent)));
            return holds(texts) && texts;
          });
        await dialog.getByRole("button", { name: "Newest" }).click();
        const [binary, marked] = await rows("the newest", (texts) => texts.length === 20 && texts[0][0] === "46");
        same(binary.slice(2), ["orders.0", "", "0x0001", "2 B"], "a payload that is no text");
        same(marked.slice(2, 5), ["orders.<b>", `Evil: ${evil}`, evil], "markup stays text");
        await dialog.getByRole("button", { name: "Earlier" }).click();
        await rows("earlier ones", (texts) => texts.length === 20 && texts[0][0] === "26" && texts[19][0] === "7");
        await dialog.getByRole("button", { name: "Later" }).click();
        await rows("later ones", (texts) => texts.length === 20 && texts[0][0] === "46" && texts[19][0] === "27");
        await dialog.getByRole("searchbox").fill("orders.1");
        await page.keyboard.press("Enter");
        await rows("of one subject", (texts) => texts.length === 20 && texts.every((text) => text[2] === "orders.1") && texts[0][4] === "number 44");
        same(await page.evaluate(() => [globalThis.evil ?? null, document.querySelectorAll("img, b").length]), [null, 0], "markup");
        same(tools.asked("evil"), 0, "requests");
        const open = await fetch(`http://${server.monitor}/messagez?acc=$G&stream=ORDERS`);
        same(open.status, 401, "without credentials");
      },
      {
        flags: [...config("http_token: t0ken, http_messages: true"), ...withStreams()],
        options: { httpCredentials: { username: "me", password: "t0ken" } },
      },
    ),

  "missing routes are reported, and routes would be drawn": () =>
    withView("routes", async (tools, page) => {
      await page.getByText("This server has no routes: it serves its clients alone.").waitFor();
      same(await page.locator(".mesh").isVisible(), false, "a drawing of one server");
      const route = (rid, peer) => ({
        rid, remote_id: `NB${peer}`, remote_name: `node-${peer}`, ip: "10.0.0.1", port: 6222, did_solicit: true,
        rtt: "1.5ms", in_msgs: 7, out_msgs: 8, subscriptions: 9, pending_size: 0,
      });
      const routes = [route(1, 1), route(2, 1), route(3, 2), route(4, 3)];
      await page.route("**/routez", (answer) => answer.fulfill({ json: { server_name: "me", num_routes: 4, routes } }));
      await page.getByText("3 servers, 4 routes").waitFor();
      await page.getByRole("img", { name: "me, with routes to node-1, node-2, node-3" }).waitFor();
      same(await page.locator(".mesh circle").count(), 4, "servers");
      same(await page.locator(".mesh line").count(), 3, "lines");
    }),

  "a cluster of three is drawn with round trips, rates and what waits": () => {
    const member = (name, ...more) => ["-n", name, "--cluster_name", "mesh", "--cluster", "nats://127.0.0.1:-1", ...more];
    return withView(
      "routes",
      async (tools, page, one) => {
        const { cluster } = await (await fetch(`http://${one.monitor}/varz`)).json();
        const seed = ["--routes", `nats://127.0.0.1:${cluster.cluster_port}`];
        await withServer(member("two", ...seed), (two) =>
          withServer(member("three", ...seed), async (three) => {
            await page.getByText("2 servers, ").waitFor();
            const name = /one, with routes to (two, three|three, two)/;
            await page.getByRole("img", { name }).waitFor();
            same(await page.locator(".mesh circle").count(), 3, "servers");
            same(await page.locator(".mesh line").count(), 2, "lines");
            const edges = () => page.locator(".mesh text.faint").allTextContents();
            const both = async (pattern) => (await edges()).filter((text) => pattern.test(text)).length === 2;
            await until("round trips are shown", () => both(/^[\d.]+ ?(ns|µs|ms)( |$)/));
            const listeners = await Promise.all([two, three].map(({ address }) => Client.connect(address)));
            for (const listener of listeners) await listener.say("SUB work.> 1\r\n");
            const publisher = await Client.connect(one.address);
            const timer = setInterval(() => publisher.publish("work.new"), 5);
            await until("rates are shown", () => both(/ · [\d.]+ ?k?\/s/));
            same((await tools.column("To/s")).some((text) => parseFloat(text) > 0), true, "a rate in the list");
            // More than the kernel takes for a server that does not read.
            three.process.kill("SIGSTOP");
            for (let i = 0; i < 400; i += 1) publisher.publish("work.new", "x".repeat(65_536));
            // The route is cut within seconds; a view is read again as soon as it is opened.
            await until("what waits is shown", async () => {
              await tools.go("overview");
              await tools.go("routes");
              return (await edges()).some((text) => / · [\d.]+ ?MiB pending$/.test(text));
            });
            three.process.kill("SIGCONT");
            clearInterval(timer);
            for (const client of [...listeners, publisher]) client.leave();
          }),
        );
      },
      { flags: member("one") },
    );
  },

  "the server's identity, limits and an expiring certificate are shown": () =>
    withView(
      "server",
      async (tools, page, server) => {
        const term = (name) => page.locator(".terms div", { has: page.getByText(name, { exact: true }) }).locator("dd").first();
        await term("Name").getByText("island").waitFor();
        await term("Payload").getByText("64 KiB").waitFor();
        await term("Certificate").getByText("none").waitFor();
        const ends = new Date(Date.now() + 5 * 86_400_000 + 60_000).toISOString();
        await page.route("**/varz", async (route) => {
          const answer = await route.fetch();
          await route.fulfill({ json: { ...(await answer.json()), tls_cert_not_after: ends } });
        });
        await page.locator(".warn", { hasText: "5 d" }).waitFor();
        await page.unroute("**/varz");
      },
      { flags: ["-n", "island", ...config("max_payload: 64KB")] },
    ),

  "an unhealthy server is reported": () =>
    withView("overview", async (tools, page, server, seen) => {
      seen.expected.push(/status of 500/);
      const ill = { status: "error", error: "no room" };
      await page.route("**/healthz", (route) => route.fulfill({ status: 500, json: ill }));
      await tools.state("Not healthy: no room");
      await page.unroute("**/healthz");
      await tools.state("Live");
    }),

  "a lost server is reported, found again, and its rates begin anew": () =>
    withView("overview", async (tools, page, server, seen) => {
      seen.expected.push(...GONE);
      const [client] = await crowd(server.address, 1);
      for (let i = 0; i < 1000; i += 1) client.publish("orders.events.1");
      await client.say("");
      const points = () => page.locator("figure", { hasText: "Connections" }).locator("path.line").getAttribute("d");
      await until("some samples", async () => (await points())?.split("L").length > 2);
      server.process.kill("SIGKILL");
      await server.exited;
      await tools.state("The server does not answer");
      await page.getByText(/trying again in \d+ s, last seen/).waitFor();
      await server.startAgain();
      await page.getByRole("button", { name: "Try now" }).click();
      await tools.state("Live");
      await page.getByText(/The server was restarted at .* all rates begin anew/).waitFor();
      same((await points()).split("L").length <= 2, true, "the plots begin anew");
      const rate = page.locator("figure", { hasText: "Messages" }).locator("dd").first();
      await until("a rate of zero, not a negative one", async () => (await rate.textContent()) === "0/s");
    }),

  "a lost server is requested less and less often": () =>
    withServer(["-m", "-1"], async (server) => {
      const origin = `http://${server.monitor}`;
      await withPage([origin], {}, async (page, seen) => {
        seen.expected.push(...GONE);
        await page.clock.install();
        const tools = new Tools(page, server, seen, origin);
        await tools.open("server");
        // From here on the clock moves only on request.
        await page.clock.pauseAt(Date.now() + 3_600_000);
        server.process.kill("SIGKILL");
        await server.exited;
        const again = (seconds) => page.getByText(`trying again in ${seconds} s`);
        await until("it is lost", async () => (await again(4).isVisible()) || (await page.clock.runFor(250)));
        await tools.state("does not answer");
        // One request per round; the delay doubles each time, up to 15 s. The browser reports up to
        // two steps late.
        for (const [wait, next] of [[4, 8], [8, 15], [15, 15]]) {
          const before = tools.asked();
          await page.clock.runFor((wait - 1) * 1_000);
          same(tools.asked(), before, `questions before ${wait} s`);
          const failed = page.waitForEvent("requestfailed", (request) => request.url().endsWith("varz"));
          await page.clock.runFor(1_000);
          await failed;
          await again(next).waitFor();
        }
        await server.startAgain();
      });
    }),

  "nothing is requested while the page is hidden or paused": () =>
    withServer(["-m", "-1"], async (server) => {
      const origin = `http://${server.monitor}`;
      await withPage([origin], {}, async (page, seen) => {
        await page.clock.install();
        const tools = new Tools(page, server, seen, origin);
        await tools.open("connections");
        const look = (isHidden) =>
          page.evaluate((isHidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
            document.dispatchEvent(new Event("visibilitychange"));
          }, isHidden);
        await look(true);
        const before = seen.requests.length;
        await page.clock.runFor(600_000);
        same(seen.requests.length, before, "requests while hidden");
        await look(false);
        await until("it requests at once", () => seen.requests.length > before);
        await tools.state("Live");
        await page.getByRole("button", { name: "Pause" }).click();
        await tools.state("Paused");
        const paused = seen.requests.length;
        await page.clock.runFor(600_000);
        await look(true);
        await look(false);
        same(seen.requests.length, paused, "requests while paused");
        await page.getByRole("button", { name: "Go on" }).click();
        await until("it goes on", () => seen.requests.length > paused);
      });
    }),

  "requests keep to the configured interval": () =>
    withServer(["-m", "-1"], async (server) => {
      const origin = `http://${server.monitor}`;
      await withPage([origin], {}, async (page, seen) => {
        await page.clock.install();
        const tools = new Tools(page, server, seen, origin);
        await tools.open("connections");
        await page.getByLabel("Update every").selectOption("every 10 s");
        await tools.state("Live");
        await page.clock.pauseAt(Date.now() + 3_600_000);
        let last;
        for (let i = 0; i < 3; i += 1) {
          const [varz, connz] = [tools.asked("/varz"), tools.asked("/connz")];
          await until("the next request", async () => tools.asked("/varz") > varz || (await page.clock.runFor(1_000)));
          const now = await page.evaluate(() => Date.now());
          // A request is observed up to one step of the clock late.
          if (now - last < 8_000) throw new Error(`asked again after ${now - last} ms`);
          if (tools.asked("/connz") > connz + 1) throw new Error("asked twice for connections");
          last = now;
        }
      });
    }),

  "lost authorization is reported and ends the requests": () =>
    withView("overview", async (tools, page, server, seen) => {
      seen.expected.push(/status of 401/);
      await page.route("**/varz", (route) => route.fulfill({ status: 401, body: "authorization required" }));
      await tools.state("Not allowed any more: reload the page to log in");
      same(await page.evaluate(() => document.body.dataset.state), "denied", "state");
      await page.unroute("**/varz");
    }),

  "everything is usable by keyboard": () =>
    withView("overview", async (tools, page, server) => {
      await crowd(server.address, 20);
      const focused = () =>
        page.evaluate(() => {
          const { textContent, value, ariaLabel } = document.activeElement;
          return ariaLabel ?? (textContent || value || "");
        });
      const tabTo = (text) =>
        until(`focus on ${text}`, async () => {
          await page.keyboard.press("Tab");
          return (await focused()) === text;
        });
      await tabTo("Skip to content");
      await tabTo("Connections");
      await page.keyboard.press("Enter");
      await tools.rows("all", "Name", (names) => names.length === 20);
      await tabTo("Msgs to");
      await page.keyboard.press("Enter");
      await page.locator("th[aria-sort=descending]", { hasText: "Msgs to" }).waitFor();
      const first = (await tools.column("Name"))[0];
      await tabTo(first);
      // The focused element has a visible outline.
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      same(outline === "none", false, "no outline");
      // It keeps the focus while rows change around it.
      await Client.connect(server.address, { name: "another" });
      await tools.rows("one more", "Name", (names) => names.length === 21);
      same(await focused(), first, "focus");
      await page.keyboard.press("Enter");
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("table").waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
      same(await focused(), first, "focus");
    }),

  "every control has an accessible name": () =>
    withView("overview", async (tools, page, server) => {
      await crowd(server.address, 3);
      for (const view of VIEWS) {
        await tools.go(view);
        const nameless = await page.evaluate(() =>
          [...document.querySelectorAll("button, input, select, a, svg[role=img], table, nav")]
            .filter((element) => element.checkVisibility())
            .filter((element) => {
              const label = element.closest("label")?.textContent.trim();
              const caption = element.caption?.textContent;
              return !(element.ariaLabel || element.textContent.trim() || label || caption);
            })
            .map((element) => element.outerHTML),
        );
        same(nameless, [], view);
      }
    }),

  "on a phone nothing scrolls sideways": () =>
    withView(
      "overview",
      async (tools, page, server) => {
        await crowd(server.address, 30);
        for (const view of VIEWS) {
          await tools.go(view);
          const [width, wanted] = await page.evaluate(() => [innerWidth, document.scrollingElement.scrollWidth]);
          if (wanted > width) throw new Error(`${view} is ${wanted} wide, on ${width}`);
        }
        await tools.go("connections");
        await tools.rows("all", "Name", (names) => names.length === 30);
        const [box, seen] = await page.evaluate(() => {
          const { scrollWidth, clientWidth } = document.querySelector(".scroll");
          return [scrollWidth, clientWidth];
        });
        if (box > seen) throw new Error(`the table is ${box} wide, in ${seen}`);
        await page.getByRole("button", { name: "orders-0" }).tap();
        await page.getByRole("dialog").getByText("orders.request.0").waitFor();
      },
      { options: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } },
    ),

  "dark and light modes are legible": () =>
    withView("closed", async (tools, page, server) => {
      const wrong = await Client.connect(server.address, { name: "wrong" });
      wrong.tell("NONSENSE\r\n");
      const grounds = [];
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await tools.rows("one", "Reason", (reasons) => reasons.length === 1);
        const { ground, worst } = await page.evaluate(legibility);
        grounds.push(ground);
        // WCAG 2, AA.
        if (worst.contrast < 4.5) throw new Error(`${colorScheme}: ${worst.contrast} of ${worst.text}`);
      }
      same(new Set(grounds).size, 2, "two grounds");
    }),

  "it works below a base path": () =>
    withView(
      "connections",
      async (tools, page, server) => {
        await crowd(server.address, 3);
        await tools.rows("all", "Name", (names) => names.length === 3);
        const elsewhere = tools.seen.requests.filter((url) => !new URL(url).pathname.startsWith("/mon/nats"));
        same(elsewhere, [], "requests outside of the base path");
        tools.seen.expected.push(NO_ICON);
        await page.getByRole("link", { name: "/varz" }).click();
        await page.getByText('"server_id"').waitFor();
      },
      { flags: config("http_base_path: /mon/nats"), path: "/mon/nats" },
    ),

  "it works with a token entered as a password": () =>
    withView(
      "overview",
      async (tools, page, server, seen) => {
        seen.expected.push(NO_ICON);
        await page.getByRole("link", { name: "/accstatz" }).click();
        await page.getByText('"account_statz"').waitFor();
      },
      { flags: config("http_token: t0ken"), options: { httpCredentials: { username: "me", password: "t0ken" } } },
    ),

  "it works with a user and a password": () =>
    withView("overview", async (tools, page) => page.getByText("Live").waitFor(), {
      flags: config("http_user: admin, http_password: secret"),
      options: { httpCredentials: { username: "admin", password: "secret" } },
    }),

  [`${MANY} connections are sorted, searched and turned like ten`]: () =>
    withView(
      "connections",
      async (tools, page, server) => {
        await crowd(server.address, MANY);
        const whole = MANY.toLocaleString("en");
        await page.getByText(`1–50 of ${whole}`).waitFor();
        await page.getByRole("button", { name: "Last page" }).click();
        await tools.rows("the last", "cid", (cids) => cids.at(-1) === String(MANY));
        await page.getByRole("button", { name: "Subs", exact: true }).click();
        await tools.rows("most first", "Subs", (texts) => texts.length === 50 && texts[0] === "3" && texts[49] === "3");
        await page.getByRole("searchbox").fill(`-${MANY - 1}`);
        await tools.rows("one", "Name", (names) => names.length === 1);
        same(await page.locator("tbody tr").count() <= 250, true, "rows that are laid out");
      },
      { flags: config(`max_connections: ${MANY + 100}, ${UNCOUNTED}`) },
    ),
}, 30_000 + 10 * MANY);

/** Runs in the page: returns its background, and the text with the least contrast. */
function legibility() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const over = (colour, ground) => {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
    return `rgb(${r}, ${g}, ${b})`;
  };
  const luminance = (colour) => {
    const parts = colour.match(/\d+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const groundOf = (element) => {
    if (!element) return "rgb(255, 255, 255)";
    return over(getComputedStyle(element).backgroundColor, groundOf(element.parentElement));
  };
  let worst = { contrast: Infinity };
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || !element.checkVisibility() || element.disabled) continue;
    const ground = groundOf(element);
    const [a, b] = [luminance(over(getComputedStyle(element).color, ground)), luminance(ground)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < worst.contrast) worst = { contrast, text: element.outerHTML.slice(0, 200) };
  }
  return { ground: groundOf(document.body), worst };
}
