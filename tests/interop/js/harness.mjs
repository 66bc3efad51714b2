// Common parts of the programs here: a server, and the report of results.
//
// The server is the program named by the environment variable SERVER. Results are lines on standard
// output, as tests/interop/run counts them: "1..N" first, then "ok NAME" or "not ok NAME" for each.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { createInterface } from "node:readline";

// Milliseconds per scenario; reached only by a failure or an extended run.
const DEADLINE = 30_000;

// Runs of a scenario until one succeeds. nats-server is there to show that an expectation is true of
// it, and does not order everything that one connection gets (python/harness.py). natsd must succeed
// at once.
const ATTEMPTS = basename(process.env.SERVER ?? "") === "nats-server" ? 3 : 1;

// The programs that run: those of a scenario that did not end in time must not outlive this one.
const running = new Set();
process.on("exit", () => running.forEach((server) => server.kill("SIGKILL")));

/** A server for one scenario, on any free port. */
export class Server {
  static async start(...flags) {
    const server = new Server();
    server.flags = flags;
    await server.run("-1");
    return server;
  }

  async run(port) {
    const args = ["-a", "127.0.0.1", "-p", port, ...this.flags];
    this.process = spawn(process.env.SERVER, args, { stdio: ["ignore", "ignore", "pipe"] });
    const started = this.process;
    running.add(started);
    started.once("exit", () => running.delete(started));
    this.exited = once(started, "exit");
    const said = [];
    for await (const line of createInterface({ input: this.process.stderr })) {
      said.push(line);
      const match = /client connections on\s+(\S+)/.exec(line);
      if (match) this.address = match[1];
      const monitor = /Starting https? monitor on (\S+)/.exec(line);
      if (monitor) this.monitor = monitor[1];
      const websocket = /websocket clients on (\S+)/.exec(line);
      if (websocket) this.websocket = websocket[1];
      if (line.includes("Server is ready")) {
        this.process.stderr.resume();
        return;
      }
    }
    throw new Error(`the server did not start:\n${said.join("\n")}`);
  }

  get port() {
    return Number(this.address.split(":").pop());
  }

  /** Starts the server on its previous ports. */
  startAgain() {
    const monitoring = this.flags.indexOf("-m");
    if (monitoring >= 0) this.flags[monitoring + 1] = this.monitor.split(":").pop();
    return this.run(String(this.port));
  }

  /** Stops the server, and checks its exit code. */
  async stop() {
    this.process.kill("SIGTERM");
    const [code] = await this.exited;
    if (code !== 0) throw new Error(`exit code ${code}`);
  }
}

/** Runs `body` with a server that is stopped afterwards in any case. */
export async function withServer(flags, body) {
  const server = await Server.start(...flags);
  try {
    await body(server);
    await server.stop();
  } finally {
    server.process.kill("SIGKILL");
  }
}

const iterators = new WeakMap();

/** Returns the next element of a subscription or a status; each provides one iterator only. */
export async function next(source) {
  if (!iterators.has(source)) iterators.set(source, source[Symbol.asyncIterator]());
  const { value, done } = await iterators.get(source).next();
  if (done) throw new Error("ended early");
  return value;
}

/** Runs the scenarios in sequence; the name of each is its description. */
export async function main(scenarios, deadline = DEADLINE) {
  const entries = Object.entries(scenarios);
  console.log(`1..${entries.length}`);
  let failed = 0;
  for (const [name, scenario] of entries) {
    if (!(await succeeds(name, scenario, deadline))) failed += 1;
  }
  // An open connection of a failed scenario must not keep the program running.
  process.exit(failed ? 1 : 0);
}

/** Runs a scenario, and reports its result. */
async function succeeds(name, scenario, deadline) {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("deadline passed")), deadline);
    });
    try {
      await Promise.race([scenario(), late]);
      console.log(`ok ${name}`);
      return true;
    } catch (error) {
      console.log(`${attempt === ATTEMPTS ? "not ok" : "again after a failure:"} ${name}`);
      console.error(error);
    } finally {
      clearTimeout(timer);
    }
  }
  return false;
}
