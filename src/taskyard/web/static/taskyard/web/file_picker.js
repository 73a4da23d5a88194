// <file-picker> uploads files as soon as they are chosen, and puts their ids into the form. Without
// scripts the form sends the files itself.
const WHOLE_BYTES = 1024 * 1024; // a smaller file goes in one request
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];
const MOST_FAILURES = 6;

const form = document.getElementById("new-task");

// The server refuses the file, and says why.
class Refused extends Error {}

const headers = () => ({
  "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
  "HX-Request": "true",
});

// Resolves to the JSON of the response; rejects with Refused, or any other error if the request may
// be repeated. XMLHttpRequest, because fetch does not report the progress of an upload.
function request(method, url, { body = null, onProgress, signal = new AbortController().signal }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    xhr.open(method, url);
    xhr.responseType = "json";
    for (const [name, value] of Object.entries(headers())) xhr.setRequestHeader(name, value);
    xhr.setRequestHeader("Content-Type", "application/octet-stream");
    if (onProgress) xhr.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    xhr.addEventListener("load", () => {
      const { status, response } = xhr;
      if (status < 300 && response) resolve(response);
      // A login page that a project redirects to is not JSON.
      else if (status === 401 || status < 300) reject(new Refused("signed-out"));
      else if (status < 500) reject(new Refused(response?.error ?? "failed"));
      else reject(new Error(response?.error));
    });
    xhr.addEventListener("error", () => reject(new Error()));
    xhr.addEventListener("abort", () => reject(signal.reason));
    xhr.addEventListener("loadend", () => signal.removeEventListener("abort", abort));
    signal.addEventListener("abort", abort);
    signal.throwIfAborted();
    xhr.send(body);
  });
}

// Wait for some time, or until the connection is back.
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const ends = new AbortController();
    const end = () => { ends.abort(); resolve(); };
    setTimeout(end, milliseconds);
    window.addEventListener("online", end, { signal: ends.signal });
    signal.addEventListener("abort", end, { signal: ends.signal });
  });
}

// Upload a file. A large one goes in pieces, and continues after a lost connection where the server
// says. Gives up only if the server answers and nothing moves. What has arrived of an upload that was
// given up or cancelled is deleted, so that it takes no space.
async function upload(file, address, options) {
  const place = {};
  try {
    return await send(file, address, place, options);
  } catch (error) {
    // The user may leave the page meanwhile.
    const request = { method: "DELETE", headers: headers(), keepalive: true };
    if (place.url) fetch(place.url, request).catch(() => {});
    throw error;
  }
}

async function send(file, address, place, { onProgress, onLost, signal }) {
  const query = `${address}?name=${encodeURIComponent(file.name)}`;
  let [failures, silences] = [0, 0];
  for (;;) {
    try {
      if (file.size <= WHOLE_BYTES) return await request("POST", query, { body: file, onProgress, signal });
      if (!place.url) {
        // Not aborted: without the answer the upload could not be deleted.
        Object.assign(place, await request("POST", `${query}&size=${file.size}`, {}), { known: true });
        signal.throwIfAborted();
      }
      if (!place.known) {
        Object.assign(place, await request("GET", place.url, { signal }), { known: true });
        silences = 0;
      }
      if (place.id) return place;
      const { offset } = place;
      onProgress(offset);
      const body = file.slice(offset, offset + place.piece);
      const next = await request("PATCH", `${place.url}?offset=${offset}`, {
        body, signal, onProgress: (loaded) => onProgress(offset + loaded),
      });
      Object.assign(place, next);
      if (place.offset > offset) failures = 0;
    } catch (error) {
      if (error instanceof Refused || signal.aborted) throw error;
      if (place.known !== false) failures += 1;
      if (failures > MOST_FAILURES) throw error;
      if (place.url) place.known = false;
      onLost(error.message);
      await pause(PAUSES_MS[Math.min(silences++, PAUSES_MS.length - 1)], signal);
      signal.throwIfAborted();
    }
  }
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class FilePicker extends HTMLElement {
  #isReady = false;
  #uploads = new Map(); // the AbortController of each upload by its line
  #input;
  #list;

  connectedCallback() {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#list = this.querySelector(".picked");
    this.#input = this.querySelector('input[type="file"]');
    // The form must not send the files again.
    this.#input.removeAttribute("name");
    this.#input.classList.add("visually-hidden");
    this.querySelectorAll("[data-with-scripts]").forEach((each) => (each.hidden = false));
    this.querySelectorAll("[data-without-scripts]").forEach((each) => (each.hidden = true));
    this.#input.addEventListener("change", () => {
      this.#add([...this.#input.files]);
      this.#input.value = "";
    });
    this.addEventListener("click", (event) => {
      const button = event.target.closest("[data-remove-file]");
      if (!button) return;
      event.preventDefault();
      event.stopPropagation();
      this.#remove(button.closest("li"));
    });
    const select = this.querySelector("select");
    select?.addEventListener("change", () => {
      const { value, text, dataset } = select.selectedOptions[0];
      select.value = "";
      if (value) this.#pick(this.#line(dataset.name ?? text), value, dataset.size);
    });
    this.#acceptDrops();
  }

  get isBusy() {
    return this.#uploads.size > 0;
  }

  get hasFailed() {
    return this.querySelector(".failed") !== null;
  }

  cancel() {
    for (const controller of this.#uploads.values()) controller.abort();
  }

  #acceptDrops() {
    const mark = (event, isOver) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.classList.toggle("over", isOver);
    };
    this.addEventListener("dragover", (event) => mark(event, true));
    this.addEventListener("dragleave", (event) => mark(event, false));
    this.addEventListener("drop", (event) => {
      mark(event, false);
      this.#add([...(event.dataTransfer?.files ?? [])]);
    });
  }

  #add(files) {
    this.querySelectorAll(".failed").forEach((line) => line.remove());
    for (const file of "many" in this.dataset ? files : files.slice(-1)) {
      const line = this.#line(file.name);
      const problem = this.#problem(file);
      if (problem) this.#fail(line, problem);
      else this.#upload(file, line);
    }
  }

  // The text for a file that the server would refuse; the server decides, by the bytes.
  #problem({ name, size, type }) {
    const { accept, maxBytes, tooLarge, refusedType } = this.dataset;
    // Some systems have another type for CSV.
    if (/\.csv$/i.test(name)) type = "text/csv";
    if (maxBytes && size > Number(maxBytes)) return tooLarge;
    return type && !this.#accepts(type, accept) ? refusedType : "";
  }

  #accepts(type, accept) {
    return !accept || accept.split(",").some((pattern) => {
      return pattern.endsWith("/*") ? type.startsWith(pattern.slice(0, -1)) : type === pattern;
    });
  }

  // A line for a file; in a field for one file, instead of the former one.
  #line(name) {
    if (!("many" in this.dataset)) [...this.#list.children].forEach((line) => this.#drop(line));
    const about = element("span", { class: "file-about" }, element("bdi", { class: "file-name" }, name));
    const button = element("button", { type: "button", class: "quiet", "data-remove-file": "", title: this.dataset.remove },
      element("span", { "aria-hidden": "true" }, "×"),
      element("span", { class: "visually-hidden" }, `${this.dataset.remove} ${name}`));
    const line = element("li", {}, about, button);
    const hadFocus = this.contains(document.activeElement);
    this.#list.append(line);
    if (hadFocus) button.focus();
    return line;
  }

  #pick(line, id, size) {
    line.prepend(element("input", { type: "hidden", name: this.dataset.name, value: id }));
    if (size) line.querySelector(".file-about").append(" ", element("span", { class: "hint" }, size));
    this.#changed();
  }

  async #upload(file, line) {
    const controller = new AbortController();
    this.#uploads.set(line, controller);
    const button = line.querySelector("button");
    button.title = this.dataset.cancel;
    button.lastChild.textContent = `${this.dataset.cancel} ${file.name}`;
    const note = element("span", { class: "hint" });
    const bar = element("progress", { max: file.size || 1, value: 0, "aria-label": file.name });
    line.querySelector(".file-about").append(" ", note);
    line.insertBefore(bar, button);
    try {
      const stored = await upload(file, this.dataset.upload, {
        signal: controller.signal,
        onProgress: (bytes) => {
          bar.value = bytes;
          note.textContent = `${Math.floor((100 * bytes) / (file.size || 1))} %`;
        },
        onLost: (text) => (note.textContent = text || this.dataset.waiting),
      });
      note.remove();
      bar.remove();
      if (this.dataset.maxBytes && stored.size > Number(this.dataset.maxBytes)) throw new Refused(this.dataset.tooLarge);
      if (!this.#accepts(stored.content_type, this.dataset.accept)) throw new Refused(this.dataset.refusedType);
      button.title = this.dataset.remove;
      button.lastChild.textContent = `${this.dataset.remove} ${stored.name}`;
      line.querySelector(".file-name").textContent = stored.name;
      this.#uploads.delete(line);
      this.#pick(line, stored.id, stored.size_text);
      this.#say(`${stored.name}: ${this.dataset.done}`);
    } catch (error) {
      this.#uploads.delete(line);
      note.remove();
      bar.remove();
      if (!controller.signal.aborted) this.#fail(line, this.#textOf(error));
    }
    this.dispatchEvent(new Event("upload-end", { bubbles: true }));
  }

  #textOf({ message }) {
    if (message === "signed-out") return this.dataset.signedOut;
    return message && message !== "failed" ? message : this.dataset.failed;
  }

  #fail(line, text) {
    line.classList.add("failed");
    line.append(element("p", { class: "error" }, text));
    this.#say(`${line.querySelector(".file-name").textContent}: ${text}`);
  }

  #remove(line) {
    const next = line.nextElementSibling ?? line.previousElementSibling;
    this.#drop(line);
    (next?.querySelector("button") ?? this.#input).focus();
    this.#changed();
  }

  #drop(line) {
    this.#uploads.get(line)?.abort();
    line.remove();
  }

  // The request beside the form shows the ids.
  #changed() {
    this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #say(text) {
    this.querySelector('[role="status"]').textContent = text;
  }
}

customElements.define("file-picker", FilePicker);

// ---- The form is submitted when all uploads have ended.

const pickers = () => [...form.querySelectorAll("file-picker")];
const isUploading = () => pickers().some((picker) => picker.isBusy);
const note = document.getElementById("upload-note");
let waiting = null; // the button that was pressed

form?.addEventListener("submit", (event) => {
  if (!isUploading()) return;
  event.preventDefault();
  event.stopPropagation();
  waiting = event.submitter;
  note.hidden = false;
});

form?.addEventListener("upload-end", () => {
  if (note.hidden || isUploading()) return;
  note.hidden = true;
  if (!pickers().some((picker) => picker.hasFailed)) form.requestSubmit(waiting);
});

window.addEventListener("beforeunload", (event) => {
  if (isUploading()) event.preventDefault();
});
