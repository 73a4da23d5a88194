// One stream for all windows of a person: browsers open six connections to a server at most.
//
// Of the windows that can be seen, the one that holds a lock reads the stream and tells the others.
// When it is closed or hidden the next one goes on from the last event that was told. Without locks
// or channels each window that can be seen has a stream of its own.
const QUIET_MS = 40000; // the server speaks every 15 s
const LOOK_MS = 5000;
const PAUSES_MS = [500, 1000, 2000, 4000];
const SIGNED_OUT_MS = 15000;

const sleep = (milliseconds, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });

export class SharedStream {
  #feed;
  #address;
  #name;
  #channel = null;
  #last;
  #reading = null; // of a window that reads the stream, or waits to do so
  #leads = false;
  #state = { open: false, hints: "here", status: 0 };
  #heardAt = Date.now();
  #over = false;

  // Events on the feed: task and hints as the server says them, stream-open, stream-lost with the
  // status, and stream-gap when something may have been missed.
  constructor(feed, address, owner) {
    const url = new URL(address, location.href);
    this.#feed = feed;
    this.#last = url.searchParams.get("since");
    this.#address = url.pathname;
    this.#name = `taskyard-events-${owner}`;
    if (navigator.locks && window.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data, false);
      setInterval(() => this.#stealFromTheDead(), LOOK_MS);
    }
    document.addEventListener("visibilitychange", () => this.#update());
    this.#update();
  }

  end() {
    this.#over = true;
    this.#update();
    this.#channel?.close();
    this.#channel = null;
  }

  #update() {
    const wanted = !this.#over && !document.hidden;
    if (!wanted) {
      this.#reading?.abort();
      this.#reading = null;
    } else if (!this.#reading) {
      this.#heardAt = Date.now();
      this.#begin(false);
      this.#channel?.postMessage({ kind: "hello" });
    }
  }

  #begin(steal) {
    const reading = new AbortController();
    this.#reading = reading;
    const lead = () => this.#lead(reading.signal);
    if (!this.#channel) {
      lead();
      return;
    }
    const options = steal ? { steal } : { signal: reading.signal };
    navigator.locks.request(this.#name, options, lead).catch(() => {
      // Given up, or taken by another window, behind which this one waits.
      reading.abort();
      if (this.#reading === reading) {
        this.#reading = null;
        this.#update();
      }
    });
  }

  // A window that stands still, as with a question on the screen, tells nothing.
  #stealFromTheDead() {
    if (!this.#reading || this.#leads || Date.now() - this.#heardAt < QUIET_MS) return;
    const waiting = this.#reading;
    this.#heardAt = Date.now();
    this.#begin(true);
    waiting.abort();
  }

  async #lead(signal) {
    this.#leads = true;
    let failures = 0;
    while (!signal.aborted) {
      let status = 0;
      try {
        status = await this.#read(signal, () => (failures = 0));
      } catch {
        // The connection broke.
      }
      if (signal.aborted) break;
      this.#tell({ kind: "lost", status });
      const pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)];
      failures += 1;
      await sleep(status === 401 ? SIGNED_OUT_MS : pause, signal);
    }
    this.#leads = false;
  }

  async #read(signal, opened) {
    const headers = { "HX-Request": "true" };
    const address = `${this.#address}?since=${encodeURIComponent(this.#last ?? "")}`;
    const answer = await fetch(address, { headers, signal, cache: "no-store" });
    if (answer.status !== 200) return answer.status;
    opened();
    this.#tell({ kind: "open", from: this.#last });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let [text, event] = ["", {}];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 0;
      const lines = (text + value).split("\n");
      text = lines.pop();
      for (const line of lines) event = this.#line(line, event);
    }
  }

  #line(line, event) {
    if (!line) {
      if (event.data !== undefined) this.#tell({ kind: "event", ...event });
      else if (event.id) this.#tell({ kind: "position", id: event.id });
      return {};
    }
    if (line.startsWith(":")) this.#tell({ kind: "beat" });
    const at = line.indexOf(": ");
    return at > 0 ? { ...event, [line.slice(0, at)]: line.slice(at + 2) } : event;
  }

  #tell(message) {
    this.#channel?.postMessage(message);
    this.#hear(message, true);
  }

  #hear(message, own) {
    if (message.kind === "hello") {
      if (this.#leads) this.#channel.postMessage({ kind: "state", ...this.#state, last: this.#last });
      return;
    }
    this.#heardAt = Date.now();
    if (message.kind === "state") this.#catchUp(message);
    else if (message.kind === "open") {
      this.#state = { ...this.#state, open: true, status: 0 };
      this.#emit("stream-open");
      if (!own && message.from !== this.#last) this.#emit("stream-gap");
    } else if (message.kind === "lost") {
      this.#state = { ...this.#state, open: false, status: message.status };
      this.#emit("stream-lost", { status: message.status });
    } else if (message.kind === "event") {
      if (message.event === "hints") this.#state.hints = message.data;
      this.#emit(message.event, { data: message.data });
    }
    if (message.id) this.#last = message.id;
  }

  // What another window knows, for one that has come or is seen again.
  #catchUp({ open, hints, status, last }) {
    if (this.#leads) return;
    this.#state = { open, hints, status };
    if (!open) this.#emit("stream-lost", { status });
    else {
      this.#emit("stream-open");
      this.#emit("hints", { data: hints });
    }
    if (last !== this.#last) this.#emit("stream-gap");
    this.#last = last;
  }

  #emit(name, detail = {}) {
    this.#feed.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}
