// Many minimal clients of the wire protocol, for a page to show.

import { once } from "node:events";
import { connect } from "node:net";

const LANGUAGES = [["go", "1.47.0"], ["rust", "0.46.0"], ["nats.js", "3.3.1"], ["python3", "2.12.0"], ["java", "2.24.0"]];
const SERVICES = ["orders", "billing", "inventory", "search", "mailer", "gateway", "reports", "audit"];
// Limited by the kernel's queue of connections.
const AT_ONCE = 100;

export class Client {
  /** Connects to `address` with the fields `more` in CONNECT, and waits until the server has processed it. */
  static async connect(address, more = {}) {
    const client = new Client();
    const at = address.lastIndexOf(":");
    client.socket = connect(Number(address.slice(at + 1)), address.slice(0, at));
    client.socket.setNoDelay(true);
    // A disconnect is expected.
    client.socket.on("error", () => {});
    client.closed = once(client.socket, "close");
    client.said = "";
    client.socket.setEncoding("latin1");
    client.socket.on("data", (text) => {
      // Only the end is needed for waiting.
      client.said = (client.said + text).slice(-4096);
      if (text.includes("PING\r\n")) client.tell("PONG\r\n");
    });
    await client.hears("\r\n");
    const options = { verbose: false, pedantic: false, headers: true, no_responders: true, ...more };
    await client.say(`CONNECT ${JSON.stringify(options)}\r\n`);
    return client;
  }

  tell(text) {
    this.socket.write(text, "latin1");
  }

  /** Sends a text, and waits until the server has processed it. */
  async say(text) {
    this.said = "";
    this.tell(`${text}PING\r\n`);
    await this.hears("PONG\r\n");
  }

  async hears(text) {
    while (!this.said.includes(text)) {
      const isClosed = await Promise.race([once(this.socket, "data"), this.closed.then(() => "closed")]);
      if (isClosed === "closed") throw new Error(`the server closed the connection: ${this.said}`);
    }
  }

  publish(subject, payload = "x") {
    this.tell(`PUB ${subject} ${payload.length}\r\n${payload}\r\n`);
  }

  /** Stops reading, so that messages queue up. */
  stall() {
    this.socket.pause();
  }

  leave() {
    this.socket.destroy();
    return this.closed;
  }
}

/** Connects clients with realistic names, libraries and subscriptions. */
export async function crowd(address, count, first = 0, who = {}) {
  const clients = [];
  while (clients.length < count) {
    const from = first + clients.length;
    const some = Array.from({ length: Math.min(AT_ONCE, count - clients.length) }, (_, i) => member(address, from + i, who));
    clients.push(...(await Promise.all(some)));
  }
  return clients;
}

async function member(address, i, who) {
  const service = SERVICES[i % SERVICES.length];
  const [lang, version] = LANGUAGES[(i * 7) % LANGUAGES.length];
  const client = await Client.connect(address, { name: `${service}-${i}`, lang, version, ...who });
  client.service = service;
  const subscriptions = [`${service}.request.${i % 40}`, `${service}.events.*`].slice(0, 1 + (i % 2));
  let text = subscriptions.map((subject, sid) => `SUB ${subject} ${sid + 1}\r\n`).join("");
  if (i % 5 === 0) text += `SUB ${service}.work workers ${subscriptions.length + 1}\r\n`;
  await client.say(text);
  return client;
}

/** Lets clients publish until stopped, at a varying rate for the plots. */
export function traffic(clients) {
  let turn = 0;
  const timer = setInterval(() => {
    turn += 1;
    const many = Math.round(30 + 22 * Math.sin(turn / 25) + 8 * Math.sin(turn / 3.1));
    for (let i = 0; i < many; i += 1) {
      const client = clients[(turn * 31 + i * 17) % Math.min(clients.length, 60)];
      client.publish(`${client.service}.events.${i % 9}`, "x".repeat(40 + ((i * 37) % 400)));
    }
  }, 50);
  return () => clearInterval(timer);
}
