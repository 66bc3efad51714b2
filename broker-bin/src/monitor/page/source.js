// Requests to the server: one round at a time, none while the page is hidden, fewer and fewer
// while the server does not answer.

// Timeout of a request, far longer than any takes.
const PATIENCE = 8_000;
// Maximum delay before a lost server is requested again.
const LONGEST_WAIT = 15_000;

/** The server requires credentials. */
export class Denied extends Error {}
/** The server is reachable, but refuses this request. */
export class Refused extends Error {}

export class Source {
  /** The displayed state: waiting, live, paused, lost or denied. */
  state = "waiting";
  /** The time at which a lost server is requested again. */
  nextTry = 0;
  #failures = 0;
  #timer;
  #asking;
  #again = false;
  #isPaused = false;

  /**
   * `round` makes the current requests with the function it is passed; `changed` is called for each new state.
   * `interval` is the time between two rounds, in milliseconds.
   */
  constructor(base, interval, round, changed) {
    Object.assign(this, { base, interval, round, changed });
    const goOn = () => this.#isPaused || this.ask();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : goOn()));
    // Retries at once when the network is back.
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

  /** Starts a round now, or after the current one. */
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
      // A bug of the page, reported on the console; the next round may succeed.
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
    // The response of an unhealthy server contains the error.
    if (!answer.ok && !path.startsWith("healthz")) {
      throw new Refused(body.trim() || `${answer.status} ${answer.statusText}`);
    }
    try {
      return JSON.parse(body);
    } catch {
      // A proxy's page, or a truncated response.
      throw new Lost(`not JSON: ${path}`);
    }
  }
}

/** The server is unreachable. */
class Lost extends Error {}
