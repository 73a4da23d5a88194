// Scripts of every page.
import "./times.js";

// Close the menu on a click outside of it, or on Escape.
const menu = document.querySelector("details.menu");

document.addEventListener("click", (event) => {
  if (menu && !menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// Ignore a second submit within 3 s, and ask for confirmation of irreversible actions.
document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const question = submitter?.dataset.confirm;
  if (form.dataset.sent || (question && !window.confirm(question))) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, 3000);
});

// Disable the buttons for selected tasks while no task is selected.
const selection = document.querySelector("[data-selection]");
if (selection) {
  const boxes = () => [...selection.querySelectorAll('input[name="task"]')];
  const all = selection.querySelector("[data-pick-all]");
  const update = () => {
    const count = boxes().filter((box) => box.checked).length;
    selection.querySelector("[data-selected]").textContent = count;
    selection.querySelectorAll('button[name="do"]').forEach((button) => (button.disabled = !count));
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  all.hidden = false;
  selection.addEventListener("change", (event) => {
    if (event.target === all) boxes().forEach((box) => (box.checked = all.checked));
    update();
  });
  // The browser may restore checked boxes when the user comes back to the page.
  window.addEventListener("pageshow", update);
  update();
}

// Copy a text of the page, if the browser lets scripts do that.
const copy = document.querySelector("[data-copy]");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
    copy.textContent = copy.dataset.copied;
  });
}

// Fetch what a <details> shows when it is opened for the first time.
document.addEventListener("toggle", async ({ target }) => {
  if (!target.open || !target.dataset.src || "loaded" in target.dataset) return;
  target.dataset.loaded = "";
  const options = { headers: { "HX-Request": "true" }, redirect: "manual" };
  const response = await fetch(target.dataset.src, options).catch(() => null);
  // Otherwise the link stays.
  if (!response?.headers.get("Content-Type")?.startsWith("text/html")) return;
  target.querySelector("a").outerHTML = await response.text();
}, true);

// Hide the buttons that scripts make unnecessary.
document.querySelectorAll("[data-without-scripts]").forEach((button) => (button.hidden = true));

// Move the code of a link into its field. The server never sees what is behind the #. Other links
// to places of the page are shorter.
const code = document.querySelector("input[data-from-link]");
const takeCode = () => {
  if (!code || location.hash.length < 32) return;
  code.value = location.hash.slice(1);
  code.closest(".field").hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
};
window.addEventListener("hashchange", takeCode);
takeCode();
