// Asking the server, within bounds: one round of questions at a time, none while nobody looks, ever fewer
// while it does not answer.

// An answer that takes longer is lost. Nothing here takes nearly as long.
const PATIENCE = 8_000;
// The longest wait before a lost server is asked again.
const LONGEST_WAIT = 15_000;

/** The server wants to know who asks. */
export class Denied extends Error {}
/** The server is there, and does not answer this. */
export class Refused extends Error {}

export class Source {
  /** The state that people are told: waiting, live, paused, lost or denied. */
  state = "waiting";
  /** When a lost server is asked again. */
  nextTry = 0;
  #failures = 0;
  #timer;
  #asking;
  #again = false;
  #isPaused = false;

  /**
   * `round` asks what is wanted now, by the function it is passed; `changed` is told of each new state.
   * `interval` is the time between two rounds, in milliseconds.
   */
  constructor(base, interval, round, changed) {
    Object.assign(this, { base, interval, round, changed });
    const goOn = () => this.#isPaused || this.ask();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : goOn()));
    // Whoever regains the network need not wait.
    addEventListener("online", goOn);
  }

  get isPaused() {
    return this.#isPaused;
  }

  pause(isPaused) {
    this.#isPaused = isPaused;
    if (isPaused) {
      this.#stop();
      this.#become("paused");
    } else this.ask();
  }

  /** Asks now, or as soon as what is being asked is answered. */
  async ask() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    if (this.#asking) {
      this.#again = true;
      return;
    }
    const asking = new AbortController();
    this.#asking = asking;
    let state = "live";
    try {
      await this.round((path) => this.#get(path, asking.signal));
    } catch (error) {
      if (asking.signal.aborted) return;
      if (error instanceof Denied) state = "denied";
      else if (error instanceof Lost) state = "lost";
      // A fault of the page, which the console tells; the next round may do better.
      else reportError(error);
    } finally {
      if (this.#asking === asking) this.#asking = undefined;
    }
    if (asking.signal.aborted) return;
    this.#failures = state === "lost" ? this.#failures + 1 : 0;
    const wait = Math.min(1000 * 2 ** (this.#failures - 1), LONGEST_WAIT);
    if (state === "lost") this.nextTry = Date.now() + wait;
    this.#become(this.#isPaused && state === "live" ? "paused" : state);
    if (this.#again) {
      this.#again = false;
      this.ask();
    } else if (state !== "denied" && !this.#isPaused) {
      this.#timer = setTimeout(() => this.ask(), state === "lost" ? wait : this.interval);
    }
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = undefined;
    this.#again = false;
  }

  #become(state) {
    this.state = state;
    this.changed(state);
  }

  async #get(path, stopped) {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(PATIENCE)]);
    let answer, body;
    try {
      answer = await fetch(new URL(path, this.base), { signal, cache: "no-store" });
      body = await answer.text();
    } catch (error) {
      throw new Lost(String(error));
    }
    if (answer.status === 401 || answer.status === 403) throw new Denied();
    // What is wrong with a server that is not well stands in its answer.
    if (!answer.ok && !path.startsWith("healthz")) {
      throw new Refused(body.trim() || `${answer.status} ${answer.statusText}`);
    }
    try {
      return JSON.parse(body);
    } catch {
      // A proxy's page, or half an answer.
      throw new Lost(`not JSON: ${path}`);
    }
  }
}

/** Nobody answers. */
class Lost extends Error {}
