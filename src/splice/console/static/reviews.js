// A review: keys that choose a verdict, and what is worked out beside the page. All of it works
// without: the keys only choose, and nothing is sent but by the button or Ctrl+Enter.
"use strict";

(() => {
  const form = document.getElementById("verdict-form");

  function off() {
    try {
      return localStorage.getItem("splice-keys") === "off";
    } catch {
      return false;
    }
  }

  function choose(id) {
    const radio = document.getElementById(id);
    if (!radio) return;
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
    const first = { override: ".of-override select, .of-override input, .of-override textarea",
      escalate: ".of-escalate input" }[id];
    const next = first && form.querySelector(first);
    if (next) next.focus();
    else radio.focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey) return;
    if (form && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
      return;
    }
    if (off() || event.metaKey || event.ctrlKey) return;
    if (event.target.closest("input:not([type=radio]), select, textarea, dialog[open]")) return;
    const id = { a: "approve", o: "override", e: "escalate" }[event.key];
    if (form && id) {
      event.preventDefault();
      choose(id);
    }
  });

  // What takes some seconds: only its own part of the page changes, never what is being typed.
  async function later(times) {
    const part = document.querySelector("[data-later]");
    if (!part || !times) return;
    await new Promise((done) => setTimeout(done, 1000));
    const answer = await fetch(part.dataset.later, { credentials: "same-origin" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const pending = page.querySelector("[data-pending-why]") || page.querySelector("[role=status]");
    if (pending) {
      await later(times - 1);
      return;
    }
    const focused = part.contains(document.activeElement);
    if (!focused) {
      part.replaceChildren(...page.body.childNodes);
      part.removeAttribute("data-later");
    } else {
      await later(times - 1);
    }
  }
  later(90).catch(() => { /* the page stays as it is */ });
})();
