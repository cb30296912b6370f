// Comfort only: every page works without this file.
"use strict";

// Copy buttons.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy"); // where there is no clipboard without https
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  field.addEventListener("focus", () => field.select());
}

// "Select all" of a group follows its boxes, and the other way round.
function follow(group) {
  const all = group.querySelector("input[name=group]");
  const boxes = [...group.querySelectorAll("input[name=type]")];
  const n = boxes.filter((box) => box.checked).length;
  all.checked = n === boxes.length;
  all.indeterminate = n > 0 && n < boxes.length;
  const total = boxes.length === 1 ? "1 event" : boxes.length + " events";
  group.querySelector("[data-picked]").textContent = n ? n + " of " + total : total;
}
function followAll() { document.querySelectorAll(".group").forEach(follow); }
for (const group of document.querySelectorAll(".group")) {
  group.addEventListener("change", (event) => {
    if (event.target.name === "group") {
      for (const box of group.querySelectorAll("input[name=type]")) box.checked = event.target.checked;
    }
    follow(group);
  });
}
followAll();
addEventListener("pageshow", followAll);

// A URL that can't be used is told when it has been entered, before the events are picked.
const checked = document.querySelector("form[data-check-url]");
checked?.elements.url.addEventListener("change", async (event) => {
  const field = event.target;
  const url = field.value;
  if (!url.trim()) return;
  try {
    const answer = await fetch(checked.action, { method: "POST", body: new URLSearchParams({ check: "1", url }) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("url");
    if (!answer.ok || !fresh || field.value !== url) return;
    document.getElementById("url-error")?.remove();
    for (const name of ["aria-invalid", "aria-describedby"]) {
      if (fresh.hasAttribute(name)) field.setAttribute(name, fresh.getAttribute(name)); else field.removeAttribute(name);
    }
    const problem = page.getElementById("url-error");
    if (problem) field.after(problem);
  } catch {
    // it is told when the form is sent
  }
});

// Menus and panels close by Escape; a menu also by a click beside it, and when another opens.
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector(".menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
    return;
  }
  document.querySelector("[data-close]")?.click();
});
addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// A page that will change soon fetches itself anew, and keeps its place and focus if nothing has changed.
const wait = Number(document.body.dataset.refresh);
if (wait) {
  const again = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status >= 500) throw new Error(answer.statusText); // such as a proxy's while the application starts again
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      const old = document.querySelector("main");
      if (fresh && old && fresh.innerHTML !== old.innerHTML && !old.contains(document.activeElement)) {
        old.replaceWith(fresh);
      } else if (fresh && old && fresh.innerHTML !== old.innerHTML) {
        location.reload();
        return;
      }
      if (page.body.dataset.refresh) setTimeout(again, 1000 * Number(page.body.dataset.refresh));
    } catch {
      setTimeout(again, 5000 * wait);
    }
  };
  setTimeout(again, 1000 * wait);
}
