"use strict";
const items = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const make = (tag, values = {}, ...children) => {
  const found = Object.assign(document.createElement(tag), values);
  found.append(...children);
  return found;
};

// ---------------------------------------------------------------- charts

const hidden = new Set(); // labels of series
const scales = { x: "log", y: "log" };
const charts = []; // {element, panel, item, chooser}: what draws one pair of axes

function theme() {
  if (matchMedia("print").matches) return "light";
  return root.dataset.theme;
}

function colour(name) {
  return getComputedStyle(root).getPropertyValue(name).trim();
}

const LINES = {
  frontier: { width: 4, dash: "solid", shape: "hv" },
  "other frontier": { width: 2, dash: "dot", shape: "hv" },
  guide: { width: 1, dash: "dot" },
  level: { width: 1.5, dash: "longdash" },
};

function traces(chart) {
  const ink = colour("--ink"), rule = colour("--rule"), faint = colour("--faint");
  const found = chart.panel.lines.map((line) => ({
    x: line.x, y: line.y, name: line.name, hoverinfo: "skip", showlegend: line.look !== "guide",
    mode: line.look === "guide" ? "lines+text" : "lines", text: line.x.map((_, i) => (i === line.x.length - 1 ? line.name : "")),
    textposition: "bottom left", textfont: { size: 11, color: faint },
    line: { color: line.look === "frontier" ? rule : faint, ...LINES[line.look] },
  }));
  for (const series of chart.panel.series) {
    const look = chart.item.looks[series.label], own = look[theme()];
    const bars = (axis) => ({
      type: "data", symmetric: false, thickness: 1, width: 2, color: own,
      visible: series[axis].some((_, i) => series[`${axis}_low`][i] !== series[`${axis}_high`][i]),
      array: series[axis].map((v, i) => series[`${axis}_high`][i] - v),
      arrayminus: series[axis].map((v, i) => v - series[`${axis}_low`][i]),
    });
    found.push({
      x: series.x, y: series.y, name: series.label, mode: look.dash ? "lines+markers" : "markers", visible: !hidden.has(series.label),
      error_x: bars("x"), error_y: bars("y"), line: { color: own, width: 1, dash: look.dash },
      marker: {
        color: own, symbol: look.symbol, size: 9, line: { color: look.symbol.endsWith("-open") ? own : ink, width: 0.8 },
        opacity: series.front ? series.front.map((v) => (v ? 1 : 0.55)) : 1,
      },
      text: series.rows.map((row) => (chart.item.about[row] || [series.label]).join("<br>")),
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  if (chart.chooser) found.push(...marked(chart, ink));
  return found;
}

function marked(chart, ink) {
  const { choice } = chart.chooser, x = [], y = [];
  for (const series of chart.panel.series)
    series.rows.forEach((row, i) => {
      if (choice.rows.includes(row)) { x.push(series.x[i]); y.push(series.y[i]); }
    });
  return [{
    x, y, mode: "markers", name: "recommended", hoverinfo: "skip",
    marker: { symbol: "circle-open", size: 20, color: ink, line: { width: 2.5 } },
  }];
}

function layout(chart) {
  const ink = colour("--ink"), rule = colour("--rule");
  const names = chart.panel.lines.filter((line) => line.look !== "guide").length + chart.panel.series.length + (chart.chooser ? 1 : 0);
  const columns = Math.max(1, Math.floor((chart.element.clientWidth - 66) / 150));
  const axis = (text, type, ticks = TICKS) => ({
    type, title: { text, font: { size: 13 }, standoff: 8 }, gridcolor: rule, linecolor: ink, zeroline: false, automargin: true,
    ...(type === "log" ? { tickvals: ticks, ticktext: ticks.map(String) } : {}), exponentformat: "none",
  });
  const shapes = chart.chooser ? [{
    type: "line", x0: chart.chooser.choice.value, x1: chart.chooser.choice.value, yref: "paper", y0: 0, y1: 1,
    line: { color: colour("--accent"), width: 2, dash: "dash" },
  }] : [];
  return {
    height: 390 + 19 * Math.ceil(names / columns), margin: { l: 54, r: 12, t: 12, b: 46 }, shapes,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 12, family: "inherit" },
    xaxis: axis(chart.panel.x, scales.x, measured(chart.panel)), yaxis: axis(chart.panel.y, scales.y),
    hovermode: "closest", hoverlabel: { bgcolor: colour("--raised"), font: { color: ink }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: ink },
    legend: { orientation: "h", y: -0.2, yanchor: "top", font: { size: 11 }, maxheight: 1,
      entrywidth: 0.98 / columns, entrywidthmode: "fraction" },
    uirevision: `${scales.x}${scales.y}`,
  };
}

// Plotly's own ticks of a logarithm say "2" and "5" between 10 and 100.
const TICKS = [];
for (let decade = -6; decade < 8; decade++) for (const digit of [1, 2, 5]) TICKS.push(Number(`${digit}e${decade}`));

// Of whole numbers, as calls, those that were measured, as far as their texts have room; else undefined.
function measured(panel) {
  const values = [...new Set(panel.series.flatMap((series) => series.x))].sort((a, b) => a - b);
  if (!values.length || values[0] <= 0 || !values.every(Number.isInteger)) return undefined;
  const room = Math.log(values.at(-1) / values[0]) / 25, kept = [values.at(-1)];
  for (const value of values.slice(0, -1).reverse()) if (Math.log(kept[0] / value) > room) kept.unshift(value);
  return kept;
}

// Named one by one: plotly's own set has a button that sends the data away.
const CONFIG = { responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg" },
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

function draw(chart) {
  if (!chart.element.isConnected) return;
  Plotly.react(chart.element, traces(chart), layout(chart), CONFIG);
  if (chart.listens) return;
  chart.listens = true;
  chart.element.on("plotly_legendclick", (event) => {
    const label = event.data[event.curveNumber].name;
    if (!(label in chart.item.looks)) return true;
    toggle([label], hidden.has(label));
    return false;
  });
  chart.element.on("plotly_legenddoubleclick", () => false);
}

const redraw = () => charts.forEach(draw);

function toggle(labels, shown) {
  labels.forEach((label) => (shown ? hidden.delete(label) : hidden.add(label)));
  document.querySelectorAll(".controls input[data-labels]").forEach((box) => {
    const own = JSON.parse(box.dataset.labels), there = own.filter((label) => !hidden.has(label)).length;
    box.checked = there > 0;
    box.indeterminate = there > 0 && there < own.length;
  });
  redraw();
}

function controls(before) {
  const families = {}, looks = {};
  charts.forEach(({ item }) => {
    Object.assign(looks, item.looks);
    for (const [label, family] of Object.entries(item.families)) (families[family] ||= new Set()).add(label);
  });
  const box = (text, labels, swatch) => {
    const input = make("input", { type: "checkbox", checked: true });
    input.dataset.labels = JSON.stringify(labels);
    input.addEventListener("change", () => toggle(labels, input.checked));
    const label = make("label", {}, input);
    if (swatch) label.append(Object.assign(make("span", { className: "swatch" }), { style: `background:${swatch}` }));
    label.append(text);
    return label;
  };
  const group = (name, ...boxes) => make("fieldset", {}, make("legend", { textContent: name }), ...boxes);
  const names = Object.keys(families).sort();
  const axis = (which, text) => {
    const input = make("input", { type: "checkbox", checked: true, name: `log-${which}` });
    input.addEventListener("change", () => { scales[which] = input.checked ? "log" : "linear"; redraw(); });
    return make("label", {}, input, text);
  };
  const all = make("button", { type: "button", textContent: "all" });
  all.addEventListener("click", () => toggle(Object.keys(looks), true));
  const none = make("button", { type: "button", textContent: "none" });
  none.addEventListener("click", () => toggle(Object.keys(looks), false));
  before.before(make("details", { className: "controls" }, make("summary", { textContent: "Families, samplers and axes of the charts" }),
    make("div", {},
      group("Axes", axis("x", "x logarithmic"), axis("y", "y logarithmic")),
      group("Families", all, none, ...names.map((name) => box(name, [...families[name]].sort()))),
      group("Samplers", ...Object.keys(looks).sort().map((label) => box(label, [label], looks[label].light))))));
}

function chooser(element, item) {
  const state = { kind: 0, positions: item.sliders.map((s) => s.start) };
  const range = element.querySelector("input[type=range]"), output = element.querySelector("output");
  const use = element.querySelector(".use"), remarks = element.querySelector("ul");
  const chart = { element: element.querySelector(".panel"), item, chooser: state };
  const show = () => {
    const slider = item.sliders[state.kind];
    state.choice = slider.choices[state.positions[state.kind]];
    chart.panel = slider.panel;
    range.max = slider.choices.length - 1;
    range.value = state.positions[state.kind];
    output.textContent = state.choice.told;
    range.setAttribute("aria-valuetext", state.choice.told);
    use.innerHTML = state.choice.text;
    remarks.replaceChildren(...state.choice.remarks.map((text) => make("li", { innerHTML: text })));
  };
  range.addEventListener("input", () => { state.positions[state.kind] = Number(range.value); show(); draw(chart); });
  element.querySelectorAll("input[type=radio]").forEach((radio) =>
    radio.addEventListener("change", () => { state.kind = Number(radio.value); show(); draw(chart); }));
  show();
  charts.push(chart);
}

// ---------------------------------------------------------------- tables

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent) return;
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending", sign = falling ? -1 : 1;
      [...table.tHead.rows[0].cells].forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent;
      };
      const order = (a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "" || Number.isNaN(x) || Number.isNaN(y)) return (x === "" || Number.isNaN(x)) - (y === "" || Number.isNaN(y));
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(order));
    });
  });
}

function records(element, item) {
  const table = element.querySelector("table"), rows = [...table.tBodies[0].rows];
  const status = element.querySelector("[role=status]"), search = element.querySelector("input");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
    status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} records`;
  };
  search.addEventListener("input", filter);
  filter();
  const field = (value) => (value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const formats = {
    csv: () => [item.columns, ...item.rows].map((row) => row.map(field).join(",")).join("\n") + "\n",
    json: () => JSON.stringify(item.rows.map((row) => Object.fromEntries(item.columns.map((c, i) => [c, row[i]]))), null, 1) + "\n",
  };
  element.querySelectorAll("button[data-format]").forEach((button) => button.addEventListener("click", () => {
    const kind = button.dataset.format, file = new Blob([formats[kind]()], { type: kind === "csv" ? "text/csv" : "application/json" });
    const link = make("a", { href: URL.createObjectURL(file), download: `${item.name}.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));
}

// ---------------------------------------------------------------- pictures, theme, start

document.querySelectorAll(".zoom").forEach((button) => button.addEventListener("click", () => {
  const small = button.querySelector("img"), scale = Math.max(2, Math.round((2 * small.clientWidth) / small.naturalWidth));
  const close = make("button", { type: "button", textContent: "close" });
  const image = make("img", { src: small.src, alt: small.alt, width: small.naturalWidth * scale });
  const dialog = make("dialog", { ariaLabel: small.alt }, close, image);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}));

const button = document.getElementById("theme");
function set(name) {
  root.dataset.theme = name;
  button.textContent = name === "dark" ? "light" : "dark";
  button.setAttribute("aria-label", `${button.textContent} theme`);
  redraw();
}
button.addEventListener("click", () => set(root.dataset.theme === "dark" ? "light" : "dark"));
const preference = matchMedia("(prefers-color-scheme: dark)");
preference.addEventListener("change", () => set(preference.matches ? "dark" : "light"));
let before = null;
const printing = (on) => {
  if (on && before === null) { before = root.dataset.theme; set("light"); }
  else if (!on && before !== null) { set(before); before = null; }
};
matchMedia("print").addEventListener("change", (event) => printing(event.matches));
addEventListener("beforeprint", () => printing(true));
addEventListener("afterprint", () => printing(false));
set(preference.matches ? "dark" : "light");

document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll("[data-item]").forEach((element) => {
  const item = items[Number(element.dataset.item)];
  if (item.kind === "records") records(element, item);
  if (item.kind === "chooser") chooser(element, item);
  if (item.kind === "chart")
    element.querySelectorAll(".panel").forEach((panel, i) => charts.push({ element: panel, item, panel: item.panels[i] }));
});
if (charts.length) controls(document.querySelector(".chooser, .chart").closest("figure, .chooser"));
// One chart after the other, so that the page shows and answers meanwhile.
charts.reduce((done, chart) => done.then(() => new Promise((next) => setTimeout(() => { draw(chart); next(); }))), Promise.resolve())
  .then(() => { root.dataset.ready = "yes"; });
