// One stream for all windows of a user, because browsers open at most six connections to a server.
//
// The visible window that holds a Web Lock (the leader) reads the stream and broadcasts the events
// to the others. If it is closed or hidden, the next window gets the lock and resumes after the last
// event. Without locks or BroadcastChannel each visible window reads a stream of its own.
const SILENCE_LIMIT_MS = 40000; // the server sends a comment every 15 s
const CHECK_INTERVAL_MS = 5000;
const PAUSES_MS = [500, 1000, 2000, 4000];
const SIGNED_OUT_MS = 15000;
const POLL_MS = 5000;

const sleep = (milliseconds, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });

// The middleware of a project may redirect to the login page before our view can answer 401.
export const statusOf = (response) => (response.type === "opaqueredirect" ? 401 : response.status);

export class SharedStream {
  #feed;
  #path;
  #name;
  #channel = null;
  #lastId;
  #reading = null; // the AbortController while this window reads the stream or waits for the lock
  #isLeader = false;
  #state = { open: false, hints: "here", status: 0 };
  #receivedAt = Date.now();
  #ended = false;

  // Dispatches events on the feed: `task` and `hints` from the server, `stream-open`, `stream-lost`
  // with the status, and `stream-gap` if events may have been missed.
  constructor(feed, address, owner) {
    const url = new URL(address, location.href);
    this.#feed = feed;
    this.#lastId = url.searchParams.get("since");
    this.#path = url.pathname;
    this.#name = `taskyard-events-${owner}`;
    if (navigator.locks && window.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#receive(data, false);
      setInterval(() => this.#replaceSilentLeader(), CHECK_INTERVAL_MS);
    }
    document.addEventListener("visibilitychange", () => this.#update());
    this.#update();
  }

  end() {
    this.#ended = true;
    this.#update();
    this.#channel?.close();
    this.#channel = null;
  }

  #update() {
    if (this.#ended || document.hidden) {
      this.#reading?.abort();
      this.#reading = null;
    } else if (!this.#reading) {
      this.#receivedAt = Date.now();
      this.#requestLock(false);
      this.#channel?.postMessage({ kind: "hello" });
    }
  }

  #requestLock(steal) {
    const reading = new AbortController();
    this.#reading = reading;
    const lead = () => this.#lead(reading.signal);
    if (!this.#channel) {
      lead();
      return;
    }
    const options = steal ? { steal } : { signal: reading.signal };
    navigator.locks.request(this.#name, options, lead).catch(() => {
      // The request was aborted, or another window stole the lock: wait for it again.
      reading.abort();
      if (this.#reading === reading) {
        this.#reading = null;
        this.#update();
      }
    });
  }

  // A blocked leader, for example with an open dialog, broadcasts nothing: steal its lock.
  #replaceSilentLeader() {
    if (!this.#reading || this.#isLeader || Date.now() - this.#receivedAt < SILENCE_LIMIT_MS) return;
    const waiting = this.#reading;
    this.#receivedAt = Date.now();
    this.#requestLock(true);
    waiting.abort();
  }

  async #lead(signal) {
    this.#isLeader = true;
    let failures = 0;
    while (!signal.aborted) {
      let status = 0;
      try {
        status = await this.#read(signal, () => (failures = 0));
      } catch {
        // The connection broke.
      }
      if (signal.aborted) break;
      if (status === 406) {
        await this.#poll(signal);
        break;
      }
      this.#broadcast({ kind: "lost", status });
      const pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)];
      failures += 1;
      await sleep(status === 401 ? SIGNED_OUT_MS : pause, signal);
    }
    this.#isLeader = false;
  }

  // The server cannot stream: let every window fetch its tasks from time to time.
  async #poll(signal) {
    this.#broadcast({ kind: "open", from: this.#lastId });
    while (!signal.aborted) {
      this.#broadcast({ kind: "poll" });
      await sleep(POLL_MS, signal);
    }
  }

  async #read(signal, opened) {
    const headers = { "HX-Request": "true" };
    const url = `${this.#path}?since=${encodeURIComponent(this.#lastId ?? "")}`;
    const response = await fetch(url, { headers, signal, cache: "no-store", redirect: "manual" });
    if (response.status !== 200) return statusOf(response);
    opened();
    this.#broadcast({ kind: "open", from: this.#lastId });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let [text, event] = ["", {}];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 0;
      const lines = (text + value).split("\n");
      text = lines.pop();
      for (const line of lines) event = this.#parseLine(line, event);
    }
  }

  // Returns the event with the field of this line; an empty line ends the event.
  #parseLine(line, event) {
    if (!line) {
      if (event.data !== undefined) this.#broadcast({ kind: "event", ...event });
      else if (event.id) this.#broadcast({ kind: "position", id: event.id });
      return {};
    }
    if (line.startsWith(":")) this.#broadcast({ kind: "beat" });
    const colon = line.indexOf(": ");
    return colon > 0 ? { ...event, [line.slice(0, colon)]: line.slice(colon + 2) } : event;
  }

  #broadcast(message) {
    this.#channel?.postMessage(message);
    this.#receive(message, true);
  }

  #receive(message, isOwn) {
    if (message.kind === "hello") {
      if (this.#isLeader) this.#channel.postMessage({ kind: "state", ...this.#state, last: this.#lastId });
      return;
    }
    this.#receivedAt = Date.now();
    if (message.kind === "state") this.#applyState(message);
    else if (message.kind === "open") {
      this.#state = { ...this.#state, open: true, status: 0 };
      this.#emit("stream-open");
      if (!isOwn && message.from !== this.#lastId) this.#emit("stream-gap");
    } else if (message.kind === "lost") {
      this.#state = { ...this.#state, open: false, status: message.status };
      this.#emit("stream-lost", { status: message.status });
    } else if (message.kind === "poll") {
      this.#emit("stream-gap");
    } else if (message.kind === "event") {
      if (message.event === "hints") this.#state.hints = message.data;
      this.#emit(message.event, { data: message.data });
    }
    if (message.id) this.#lastId = message.id;
  }

  // The leader's answer to `hello`, which a window sends when it opens or becomes visible.
  #applyState({ open, hints, status, last: lastId }) {
    if (this.#isLeader) return;
    this.#state = { open, hints, status };
    if (!open) this.#emit("stream-lost", { status });
    else {
      this.#emit("stream-open");
      this.#emit("hints", { data: hints });
    }
    if (lastId !== this.#lastId) this.#emit("stream-gap");
    this.#lastId = lastId;
  }

  #emit(name, detail = {}) {
    this.#feed.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}
