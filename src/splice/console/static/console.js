// Keys, theme and rows that open: what a page can do beyond its links. Every page works without.
"use strict";

(() => {
  const root = document.documentElement;
  const base = document.body.dataset.base;

  // Theme: light, dark, or as the system has it.
  const themes = ["auto", "light", "dark"];
  const themeButton = document.getElementById("theme");
  const nameOf = { auto: "System", light: "Light", dark: "Dark" };
  function setTheme(theme) {
    root.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `splice_theme=${theme}; Path=${base}; Max-Age=31536000; SameSite=Strict${secure}`;
    nameTheme();
    document.dispatchEvent(new CustomEvent("themechange"));
  }
  function nameTheme() {
    if (themeButton) {
      themeButton.textContent = `Theme: ${nameOf[root.dataset.theme]}`;
    }
  }
  function nextTheme() {
    setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
  }
  if (themeButton) {
    themeButton.hidden = false;
    nameTheme();
    themeButton.addEventListener("click", nextTheme);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new CustomEvent("themechange"));
  });

  // The list of keys, where single ones can be switched off: they disturb who speaks to a machine.
  const list = document.getElementById("shortcuts");
  const keysButton = document.getElementById("keys");
  const switched = document.getElementById("single-keys");
  let single = true;
  try {
    single = localStorage.getItem("splice-keys") !== "off";
  } catch { /* no storage: they stay on */ }
  if (keysButton && list) {
    keysButton.hidden = false;
    keysButton.addEventListener("click", () => list.showModal());
    switched.checked = single;
    switched.addEventListener("change", () => {
      single = switched.checked;
      try {
        localStorage.setItem("splice-keys", single ? "on" : "off");
      } catch { /* until the next page */ }
    });
  }

  // Figures that were not worked out yet: the page asks again until they are there.
  async function again(times) {
    const old = document.querySelector("[data-pending]");
    if (!old || !times) return;
    await new Promise((done) => setTimeout(done, 1000));
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    const focused = document.getElementById("main").contains(document.activeElement);
    if (fresh && !focused) document.getElementById("main").replaceChildren(...fresh.childNodes);
    await again(times - 1);
  }
  again(8).catch(() => { /* the page stays as it is */ });

  // Rows.
  function rows() {
    return [...document.querySelectorAll("tr[data-href]")];
  }
  function choose(step) {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains("chosen"));
    const next = Math.min(all.length - 1, Math.max(0, now < 0 ? (step > 0 ? 0 : all.length - 1) : now + step));
    all.forEach((row) => row.classList.remove("chosen"));
    all[next].classList.add("chosen");
    const link = all[next].querySelector("a");
    if (link) link.focus({ preventScroll: true });
    all[next].scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-href]");
    const busy = event.target.closest("a, button, input, select, summary, label");
    if (!row || busy || event.button !== 0 || String(getSelection())) return;
    if (event.metaKey || event.ctrlKey) open(row.dataset.href, "_blank", "noopener");
    else location.assign(row.dataset.href);
  });

  const ranges = ["1h", "24h", "7d", "30d", "90d"];
  function widen(step) {
    const links = [...document.querySelectorAll("a[data-range]")];
    if (!links.length) return;
    const now = links.findIndex((link) => link.hasAttribute("aria-current"));
    const next = now < 0 ? ranges.indexOf("7d") : now + step;
    if (links[next]) location.assign(links[next].href);
  }
  function go(path) {
    const links = [...document.querySelectorAll(".bar nav a")];
    const link = links.find((one) => new URL(one.href).pathname === base + path);
    location.assign(link ? link.href : base + path);
  }

  let waiting = "";
  document.addEventListener("keydown", (event) => {
    if (!single || event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (list && list.open) return;
    const key = event.key;
    if (waiting === "g") {
      waiting = "";
      const path = { p: "", c: "/calls", l: "/live", a: "/alerts", r: "/reviews" }[key];
      if (path !== undefined) {
        event.preventDefault();
        go(path);
      }
      return;
    }
    const search = document.querySelector("input[type=search]");
    const actions = {
      g: () => { waiting = "g"; setTimeout(() => { waiting = ""; }, 1500); },
      j: () => choose(1),
      k: () => choose(-1),
      "/": () => { if (search) search.focus(); else go("/calls"); },
      "-": () => widen(-1),
      "+": () => widen(1),
      t: nextTheme,
      n: () => { const next = document.getElementById("next"); if (next) next.click(); },
      "?": () => { if (list) list.showModal(); },
    };
    if (actions[key]) {
      event.preventDefault();
      actions[key]();
    }
  });
})();
