// The form of a new task. Without scripts each button submits the form, and the server returns the
// changed page; with scripts only the fields are replaced.
const form = document.getElementById("new-task");
const zone = document.getElementById("zone");

// Users type times in their own time zone, which only the browser knows; the server renders the
// fields in UTC. Returns null if the local time is ambiguous.
function toLocalTime(moment) {
  const date = new Date(moment);
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60000);
  const text = shifted.toISOString().replace("Z", "").replace(/\.000$/, "");
  return new Date(text).getTime() === date.getTime() ? text : null;
}

if (zone && !zone.value) {
  const inputs = [...form.querySelectorAll("input[data-moment]")];
  const texts = inputs.map((input) => toLocalTime(input.dataset.moment));
  // Keep UTC if a time is in the hour that repeats when daylight saving time ends.
  if (texts.every(Boolean)) {
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    inputs.forEach((input, index) => (input.value = texts[index]));
  }
}

zone?.addEventListener("focus", () => {
  const names = Intl.supportedValuesOf?.("timeZone") ?? [];
  document.getElementById("zones").replaceChildren(...["UTC", ...names].map((name) => new Option(name)));
}, { once: true });

async function changeRows(button) {
  const body = new FormData(form);
  body.append(button.name, button.value);
  const response = await fetch(form.action, { method: "POST", body });
  if (!response.ok) throw new Error(response.status);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fields = page.getElementById("fields");
  const uploading = [...form.querySelectorAll("file-picker")].filter((picker) => picker.isBusy);
  document.getElementById("fields").replaceWith(document.adoptNode(fields));
  uploading.forEach((picker) => keepPicker(picker, fields, button.value));
  (fields.querySelector("[autofocus]") ?? fields.querySelector(`button[value="${CSS.escape(button.value)}"]`))?.focus();
  form.dispatchEvent(new Event("change", { bubbles: true }));
}

// Uploads go on in the new fields, except in a list from which a row was removed: the others have new
// numbers.
function keepPicker(picker, fields, action) {
  const [verb, list] = action.split(" ");
  const place = fields.querySelector(`#${CSS.escape(picker.id)}`);
  if (place && !(verb === "remove" && picker.dataset.name.startsWith(`${list}/`))) place.replaceWith(picker);
  else picker.cancel();
}

let busy = false;
form?.addEventListener("click", (event) => {
  const button = event.target.closest("[data-change-rows]");
  if (!button) return;
  event.preventDefault();
  if (busy) return;
  busy = true;
  // If the request fails, submit the form as without scripts.
  changeRows(button).catch(() => form.requestSubmit(button)).finally(() => (busy = false));
});

// Lines pasted into a value of a list become values of their own. Lines pasted into a single-line
// text turn the input into a textarea.
form?.addEventListener("paste", (event) => {
  const text = event.clipboardData?.getData("text/plain").replace(/\r\n?/g, "\n") ?? "";
  const input = event.target;
  if (!text.trim().includes("\n") || input.localName !== "input") return;
  const list = input.closest(".values");
  if (!list && !("grows" in input.dataset)) return;
  event.preventDefault();
  const area = document.createElement("textarea");
  for (const name of ["id", "name", "aria-describedby", "aria-label"]) {
    if (input.hasAttribute(name)) area.setAttribute(name, input.getAttribute(name));
  }
  const [start, end] = [input.selectionStart ?? 0, input.selectionEnd ?? input.value.length];
  area.value = list ? text.replace(/\n+$/, "") : input.value.slice(0, start) + text + input.value.slice(end);
  area.rows = Math.min(12, area.value.split("\n").length + 1);
  input.replaceWith(area);
  area.focus();
  form.dispatchEvent(new Event("input", { bubbles: true }));
  if (list) list.querySelector('button[value^="add "]').click();
});
