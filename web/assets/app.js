// Everything works without this script. With it an open page stays up to date, and answers to keys.
"use strict";

(() => {
  const every = Number(document.body.dataset.live);
  const main = document.getElementById("main");

  // ---- Up to date: the sections that change are asked for again, and put in the place of the old ones.

  // busy is whether somebody is at work in a section, who would lose what they do.
  const busy = (section) =>
    section.contains(document.activeElement) && document.activeElement.matches("input, select, textarea") ||
    section.contains(getSelection().anchorNode) && !getSelection().isCollapsed ||
    section.querySelector("details.act[open]") !== null ||
    [...section.querySelectorAll("form input, form textarea")].some((field) => field.value !== field.defaultValue);

  // keyOf tells what can be unfolded apart, also in a fresh section.
  const keyOf = (details) => {
    const around = details.parentElement.closest("[id]");
    return details.id || around.id + "/" + [...around.querySelectorAll("details")].indexOf(details);
  };

  const replace = (section, fresh) => {
    const open = new Map([...section.querySelectorAll("details")].map((d) => [keyOf(d), d.open]));
    for (const d of fresh.querySelectorAll("details")) d.open = open.get(keyOf(d)) ?? d.open;
    if (section.innerHTML === fresh.innerHTML) return;
    const at = section.querySelector("tr.at a, tr.at")?.getAttribute("href");
    const focus = section.contains(document.activeElement) ? document.activeElement.getAttribute("href") || document.activeElement.parentElement?.id : null;
    section.replaceChildren(...fresh.childNodes);
    if (at) mark([...section.querySelectorAll("tr[data-row]")].find((r) => r.querySelector("a")?.getAttribute("href") === at));
    if (focus) (section.querySelector(`a[href="${CSS.escape(focus)}"]`) || section.querySelector(`#${CSS.escape(focus)} > summary`))?.focus({ preventScroll: true });
  };

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { "Workflow-Live": "1" }, cache: "no-store" });
    if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
    if (answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of main.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(section.id);
      if (fresh && !busy(section)) replace(section, fresh);
    }
    for (const fresh of page.querySelectorAll("[data-live]")) { // sections that were not there yet
      if (!document.getElementById(fresh.id)) main.append(fresh);
    }
  };

  if (every > 0 && main.querySelector("[data-live]")) {
    const button = document.createElement("button");
    button.type = "button";
    document.getElementById("live").append(button);
    let failures = 0;
    let timer;
    const show = (on, trouble) => {
      button.setAttribute("aria-pressed", String(on));
      button.classList.toggle("trouble", Boolean(trouble));
      button.textContent = trouble ? "No answer" : on ? "Live" : "Paused";
      button.title = trouble ? `${trouble}; it is tried again` : on ? "This page stays up to date. Press to pause." : "Press to keep this page up to date.";
    };
    const on = () => sessionStorage.getItem("live") !== "off";
    const look = async () => {
      clearTimeout(timer);
      if (!on()) return show(false);
      try {
        if (!document.hidden) await refresh();
        failures = 0;
        show(true);
      } catch (e) {
        failures++;
        show(true, e.message);
      }
      timer = setTimeout(look, every * Math.min(2 ** failures, 12));
    };
    button.addEventListener("click", () => {
      sessionStorage.setItem("live", on() ? "off" : "on");
      look();
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
    show(on());
    if (on()) timer = setTimeout(look, every);
  }

  // ---- Keys.

  const mark = (row) => {
    for (const old of document.querySelectorAll("tr.at")) old.classList.remove("at");
    if (!row) return;
    row.classList.add("at");
    row.querySelector("a")?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const move = (by) => {
    const rows = [...document.querySelectorAll("tr[data-row], .tl summary")];
    const here = rows.findIndex((r) => r.classList.contains("at") || r === document.activeElement);
    const to = rows[Math.max(0, Math.min(rows.length - 1, here + by))];
    if (!to) return;
    if (to.matches("tr")) return mark(to);
    to.focus();
  };
  const keys = {
    j: ["next row", () => move(1)],
    k: ["row before", () => move(-1)],
    n: ["older runs", () => document.querySelector("[data-next]")?.click()],
    p: ["newest runs", () => document.querySelector("[data-first]")?.click()],
    "/": ["go to a run by its id", () => {
      const find = document.getElementById("find");
      if (find) find.focus(); else location.href = "runs#find";
    }],
    "?": ["these keys", () => help()],
  };
  let prefix = false;
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, select, textarea")) return;
    if (prefix) {
      prefix = false;
      const to = document.querySelector(`[data-go="${CSS.escape(e.key)}"]`);
      if (to) to.click();
      return;
    }
    if (e.key === "g") { prefix = true; setTimeout(() => { prefix = false; }, 1500); return; }
    if (keys[e.key]) { e.preventDefault(); keys[e.key][1](); }
  });
  document.querySelector(".keys").hidden = false;
  if (location.hash === "#find") document.getElementById("find")?.focus();

  const help = () => {
    let dialog = document.getElementById("help");
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.id = "help";
      const title = document.createElement("h2");
      title.textContent = "Keys";
      const list = document.createElement("dl");
      const add = (key, what) => {
        const dt = document.createElement("dt");
        for (const k of key.split(" ")) { const kbd = document.createElement("kbd"); kbd.textContent = k; dt.append(kbd, " "); }
        const dd = document.createElement("dd");
        dd.textContent = what;
        list.append(dt, dd);
      };
      for (const link of document.querySelectorAll("[data-go]")) add("g " + link.dataset.go, link.textContent);
      for (const [key, [what]] of Object.entries(keys)) add(key, what);
      add("Enter", "open the row");
      add("Esc", "close this");
      dialog.append(title, list);
      dialog.addEventListener("click", () => dialog.close());
      document.body.append(dialog);
    }
    dialog.showModal();
  };
})();
