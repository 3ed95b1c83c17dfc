// Draws the charts of a page. Data and texts are values: nothing of them becomes code or markup, and
// Vega's expressions are interpreted, for the page allows no code that is made from text.
"use strict";

(() => {
  const places = [...document.querySelectorAll("[data-chart]")];
  if (!places.length || !window.vegaEmbed) return;
  let views = [];
  let given = null;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }
  // What only the page knows stands in a spec as a text that begins with "$".
  function filled(part, values) {
    if (typeof part === "string" && part.startsWith("$")) {
      const name = part.slice(1);
      return name in values ? values[name] : colour(name);
    }
    if (Array.isArray(part)) return part.map((one) => filled(one, values));
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([k, v]) => [k, filled(v, values)]));
    }
    return part;
  }
  function config() {
    const font = getComputedStyle(document.body).fontFamily;
    const text = colour("quiet");
    return {
      background: "transparent",
      font,
      view: { stroke: "transparent" },
      axis: {
        domainColor: colour("line"), gridColor: colour("line"), gridOpacity: 0.7,
        tickColor: colour("line"), labelColor: text, titleColor: text, labelFontSize: 11,
        labelFont: font, tickSize: 4,
      },
      axisX: { grid: false },
      axisY: { domain: false, ticks: false },
      legend: { labelColor: text, labelFontSize: 11, labelFont: font, symbolSize: 60, offset: 4, padding: 0 },
      line: { color: colour("plot-1") },
      area: { color: colour("plot-1") },
      bar: { color: colour("plot-1") },
      rule: { color: colour("text") },
      text: { color: text, font },
      point: { color: colour("plot-1") },
      style: {
        "mark-line": { stroke: colour("line-strong") },
        "mark-label": { fill: text },
      },
    };
  }
  function told(place, text) {
    const made = document.createElement("p");
    made.className = "quiet";
    made.textContent = text;
    place.replaceChildren(made);
  }

  function dated(one) {
    return { ...one, at: new Date(one.t).toISOString().slice(0, 16).replace("T", " ") };
  }

  // A brush over a chart makes its stretch the time of the page.
  function brushed(view, place) {
    let chosen = null;
    view.addSignalListener("brush", (_, value) => {
      chosen = value && value.t ? value.t.map(Number) : null;
    });
    place.addEventListener("pointerup", () => {
      setTimeout(() => {
        if (!chosen || Math.abs(chosen[1] - chosen[0]) < 60000) return;
        const [from, to] = chosen.sort((a, b) => a - b);
        const url = new URL(location.href);
        const text = (ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
        url.searchParams.delete("range");
        url.searchParams.set("since", text(from));
        url.searchParams.set("until", text(to));
        location.assign(url);
      }, 0);
    });
  }

  async function draw() {
    views.forEach((one) => one.finalize());
    views = [];
    for (const place of places) {
      const spec = given.specs[place.dataset.chart];
      const points = given.figures[place.dataset.source].points;
      if (!points || !points.length) {
        told(place, place.dataset.empty || "Nothing to draw in this time.");
        continue;
      }
      const figures = given.figures[place.dataset.source];
      const whole = {
        $schema: "https://vega.github.io/schema/vega-lite/v6.json",
        ...filled(spec, { since: String(given.span[0]), until: String(given.span[1]) }),
        datasets: { points: points.map(dated), marks: (figures.marks || given.marks).map(dated) },
      };
      const result = await window.vegaEmbed(place, whole, {
        mode: "vega-lite", renderer: "canvas", ast: true, actions: false, logLevel: 1, defaultStyle: false,
        config: config(),
        tooltip: { disableDefaultStyle: true, theme: "page", id: "vg-tooltip-element" },
      });
      views.push(result);
      brushed(result.view, place);
      const canvas = place.querySelector("canvas");
      if (canvas) {
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", place.dataset.label || "Chart");
      }
    }
    document.body.dataset.drawn = String(views.length);
  }

  async function start() {
    const main = document.querySelector("[data-figures]");
    const addresses = [...new Set(places.map((one) => one.dataset.source))];
    const answers = await Promise.all(
      [main.dataset.specs, ...addresses].map((one) => fetch(one, { credentials: "same-origin" })),
    );
    if (answers.some((one) => !one.ok)) throw new Error("figures");
    const [specs, ...figures] = await Promise.all(answers.map((one) => one.json()));
    const bySource = Object.fromEntries(addresses.map((one, at) => [one, figures[at]]));
    const first = bySource[main.dataset.figures];
    given = { specs, figures: bySource, span: first.span, marks: first.marks };
    await draw();
  }

  start().catch((error) => {
    console.error(error);
    places.forEach((one) => told(one, "The chart could not be drawn; the table has its figures."));
  });
  document.addEventListener("themechange", () => { if (given) draw(); });
})();
