// The live tail: rows that come are put in as text, never as markup.
"use strict";

(() => {
  const table = document.getElementById("tail");
  const state = document.getElementById("state");
  const pause = document.getElementById("pause");
  const quiet = document.getElementById("quiet");
  const body = table.tBodies[0];
  const most = 500;
  let paused = false;
  let kept = [];

  function say(text, tone) {
    state.textContent = text;
    state.className = tone ? `mark ${tone}` : "mark";
  }
  function cell(text, kind) {
    const made = document.createElement("td");
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }
  function mark(call) {
    const made = document.createElement("td");
    const word = document.createElement("span");
    const good = call.status === "answered";
    const tone = good ? { first: "good", fallback: "warn" }[call.reason] || "info"
      : call.status === "failed" ? "bad" : "warn";
    word.className = `mark ${tone}`;
    word.textContent = good ? call.reason : `${call.status}: ${call.reason.replaceAll("_", " ")}`;
    made.append(word);
    return made;
  }
  function row(call) {
    const made = document.createElement("tr");
    made.dataset.id = call.id;
    made.dataset.href = call.href;
    made.className = "new";
    const first = document.createElement("th");
    first.scope = "row";
    const link = document.createElement("a");
    link.href = call.href;
    const time = document.createElement("time");
    time.dateTime = call.machine;
    time.textContent = call.at;
    link.append(time);
    first.append(link);
    made.append(
      first, cell(call.integration), cell(call.entity), cell(call.release, "n"),
      cell(call.answered_by), mark(call), cell(call.took, "n"), cell(call.cost, "n"),
    );
    return made;
  }
  function show(calls) {
    const shown = new Set([...body.rows].map((one) => one.dataset.id));
    const fresh = calls.filter((one) => !shown.has(one.id));
    fresh.forEach((one) => body.prepend(row(one)));
    while (body.rows.length > most) body.deleteRow(-1);
    if (body.rows.length) quiet.hidden = true;
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) {
      show(kept);
      kept = [];
      say("watching", "good");
    } else {
      say("paused", "warn");
    }
  });

  const source = new EventSource(table.dataset.source);
  source.addEventListener("open", () => say(paused ? "paused" : "watching", paused ? "warn" : "good"));
  source.addEventListener("error", () => {
    const over = source.readyState === EventSource.CLOSED;
    say(over ? "ended: load the page again" : "connecting again", "bad");
  });
  source.addEventListener("calls", (event) => {
    const calls = JSON.parse(event.data);
    if (paused) {
      kept = [...kept, ...calls].slice(-most);
      say(`paused, ${kept.length} wait`, "warn");
    } else {
      show(calls);
    }
  });
  addEventListener("pagehide", () => source.close());
})();
