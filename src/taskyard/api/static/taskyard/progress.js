// <taskyard-progress src="https://tasks.example.org/api/shared/" token="tys1_…"></taskyard-progress>
//
// Shows one shared task, live, on any site. It sends no cookie, keeps nothing, and uses no other
// file. Texts come from the server, in the language of the element (`lang`) or of the browser.
// Each change dispatches `taskyard-task` with the task in `detail`. Style it through its parts:
// box, head, label, state, bar, message, result, files, file, note; and by --taskyard-accent.
(() => {
  const TERMINAL = new Set(["completed", "error", "cancelled"]);
  const SILENCE_LIMIT_MS = 40000; // the server sends a comment every 15 s
  const PAUSES_MS = [1000, 2000, 5000, 10000, 30000];
  const POLL_MS = 5000;

  const STYLE = new CSSStyleSheet();
  STYLE.replaceSync(`
    :host { display: block; font: inherit; color: inherit; }
    :host([hidden]) { display: none; }
    [hidden] { display: none !important; }
    [part="box"] { display: grid; gap: 8px; }
    [part="head"] { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 12px; }
    [part="label"] { font-weight: 650; }
    [part="bar"] { width: 100%; accent-color: var(--taskyard-accent, #2b59c3); }
    [part="result"] { margin: 0; max-height: 20em; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
    [part="files"] { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 8px; }
    [part="file"] { font: inherit; cursor: pointer; }
  `);

  const sleep = (milliseconds, signal) =>
    new Promise((resolve) => {
      setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", resolve, { once: true });
    });

  const cancel = (reader) => reader.cancel().catch(() => {});

  const make = (name, part, parent, attributes = {}) => {
    const node = document.createElement(name);
    node.setAttribute("part", part);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    parent.append(node);
    return node;
  };

  class TaskyardProgress extends HTMLElement {
    static observedAttributes = ["src", "token", "lang"];
    #parts = {};
    #following = null; // the AbortController of the loop that reads the task
    #lastId = "";
    #over = false;
    #ready = false; // whether all attributes of the page's HTML are there

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [STYLE];
      const box = make("div", "box", root);
      const head = make("div", "head", box);
      const parts = { box, head, label: make("span", "label", head) };
      parts.state = make("span", "state", head, { role: "status" });
      parts.bar = make("progress", "bar", box, { max: 100 });
      parts.message = make("div", "message", box);
      parts.result = make("pre", "result", box, { tabindex: 0 });
      parts.files = make("ul", "files", box);
      parts.note = make("div", "note", box, { role: "status" });
      for (const name of ["bar", "message", "result", "files", "note"]) parts[name].hidden = true;
      this.#parts = parts;
    }

    connectedCallback() {
      document.addEventListener("visibilitychange", this.#update);
      this.#ready = true;
      this.#restart();
    }

    disconnectedCallback() {
      document.removeEventListener("visibilitychange", this.#update);
      this.#ready = false;
      this.#stop();
    }

    attributeChangedCallback(_name, before, now) {
      if (this.#ready && before !== now) this.#restart();
    }

    #restart() {
      this.#stop();
      this.#lastId = "";
      this.#over = false;
      this.#update();
    }

    #stop() {
      this.#following?.abort();
      this.#following = null;
    }

    // Only a visible page reads, because browsers open few connections to a server.
    #update = () => {
      const wanted =
        this.#ready && !document.hidden && !this.#over && this.getAttribute("src") && this.getAttribute("token");
      if (!wanted) this.#stop();
      else if (!this.#following) {
        this.#following = new AbortController();
        this.#follow(this.#following.signal);
      }
    };

    async #follow(signal) {
      let failures = 0;
      while (!signal.aborted && !this.#over) {
        let pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)];
        try {
          const status = await this.#readStream(signal, () => (failures = 0));
          if (status === 406 || status === 429) {
            // The server cannot stream, or has too many streams: ask for the task from time to time.
            await this.#readTask(signal);
            pause = POLL_MS;
          } else if (status === 204) await this.#readTask(signal);
          else if (status === 200) pause = PAUSES_MS[0];
          else failures += 1;
        } catch {
          failures += 1; // the connection broke
        }
        if (signal.aborted || this.#over) break;
        this.toggleAttribute("data-offline", failures > 0);
        await sleep(pause, signal);
      }
      if (this.#following?.signal === signal) this.#following = null;
    }

    #request(path, signal, headers = {}) {
      const source = this.getAttribute("src").replace(/\/?$/, "/");
      const url = new URL(path, new URL(source, location.href));
      const language = this.closest("[lang]")?.lang;
      return fetch(url, {
        signal,
        mode: "cors",
        credentials: "omit",
        cache: "no-store",
        redirect: "error",
        referrerPolicy: "no-referrer",
        headers: {
          Authorization: `Bearer ${this.getAttribute("token")}`,
          ...(language ? { "Accept-Language": language } : {}),
          ...headers,
        },
      });
    }

    async #readTask(signal) {
      const response = await this.#request("./", signal);
      if (response.ok) this.#show(await response.json());
      else if (response.status === 401) await this.#refuse(response);
      else throw new Error(response.status);
    }

    // Returns the status when the response or the stream has ended.
    async #readStream(signal, opened) {
      const headers = { Accept: "text/event-stream, */*" };
      if (this.#lastId) headers["Last-Event-ID"] = this.#lastId;
      const response = await this.#request("events/", signal, headers);
      if (response.status === 401) await this.#refuse(response);
      if (response.status !== 200) return response.status;
      opened();
      this.removeAttribute("data-offline");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let [text, id, data] = ["", "", ""];
      for (;;) {
        const silence = setTimeout(() => cancel(reader), SILENCE_LIMIT_MS);
        const { done, value } = await reader.read().finally(() => clearTimeout(silence));
        if (done) return 200;
        const lines = (text + value).split("\n");
        text = lines.pop();
        for (const line of lines) {
          if (line.startsWith("id: ")) id = line.slice(4);
          else if (line.startsWith("data: ")) data = line.slice(6);
          else if (!line) {
            if (id) this.#lastId = id;
            if (data) this.#show(JSON.parse(data));
            [id, data] = ["", ""];
          }
        }
        if (this.#over) {
          cancel(reader);
          return 200;
        }
      }
    }

    // The link has expired, or is wrong: the server says so in words.
    async #refuse(response) {
      this.#over = true;
      const { detail } = await response.json().catch(() => ({}));
      this.#text("note", detail ?? "");
      this.setAttribute("data-state", "refused");
    }

    #show(task) {
      const { progress, error, result } = task;
      this.#text("label", task.label);
      this.#text("state", task.status_label);
      this.setAttribute("data-state", task.status);
      const percent = task.status === "completed" ? 100 : progress?.percent;
      this.#parts.bar.hidden = percent == null && TERMINAL.has(task.status);
      this.#parts.bar.setAttribute("aria-label", task.label);
      if (percent == null) this.#parts.bar.removeAttribute("value");
      else this.#parts.bar.value = percent;
      this.#text("message", TERMINAL.has(task.status) ? "" : progress?.message ?? "");
      const shown = error ? error.message : result;
      this.#text("result", shown == null ? "" : typeof shown === "string" ? shown : JSON.stringify(shown, null, 2));
      this.#showFiles(task.files);
      this.#over = TERMINAL.has(task.status);
      this.dispatchEvent(new CustomEvent("taskyard-task", { detail: task, bubbles: true, composed: true }));
    }

    #text(part, text) {
      const node = this.#parts[part];
      if (node.textContent !== text) node.textContent = text;
      node.hidden = !text;
    }

    #showFiles(files) {
      const key = files.map(({ id }) => id).join();
      if (this.#parts.files.dataset.key === key) return;
      this.#parts.files.dataset.key = key;
      this.#parts.files.hidden = !files.length;
      this.#parts.files.replaceChildren();
      for (const file of files) {
        const button = make("button", "file", make("li", "item", this.#parts.files), { type: "button" });
        button.textContent = file.name;
        button.addEventListener("click", () => this.#download(file, button));
      }
    }

    // A link cannot send the token, so the bytes are fetched first.
    async #download(file, button) {
      button.disabled = true;
      try {
        const response = await this.#request(`files/${file.id}/content/`);
        if (response.status === 401) await this.#refuse(response);
        if (!response.ok) return;
        const link = document.createElement("a");
        link.href = URL.createObjectURL(await response.blob());
        link.download = file.name;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      } catch {
        // The connection broke; the button can be pressed again.
      } finally {
        button.disabled = false;
      }
    }
  }

  if (!customElements.get("taskyard-progress")) customElements.define("taskyard-progress", TaskyardProgress);
})();
