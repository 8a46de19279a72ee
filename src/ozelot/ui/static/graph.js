// Draws boxes and arrows: dagre lays them out, d3 zooms. All names are set as text, never as markup.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const PAD = 12, LINE = 17, WIDEST = 260, NARROWEST = 90, GAP = 24, STEP = 44;
  const LEGIBLE = 0.6; // the smallest scale at which a drawing that is too large for its frame begins
  const SIGNS = {
    complete: "✓", failed: "✕", running: "▶", incomplete: "○", "rows-missing": "∅", stale: "↻",
    "complete-on-incomplete": "◐", "complete-on-stale": "◔",
  };
  const FAMILY = getComputedStyle(document.documentElement).fontFamily;
  const BOLD = `600 13px ${FAMILY}`, PLAIN = `12px ${FAMILY}`;
  const measure = document.createElement("canvas").getContext("2d");

  function width(text, font) {
    measure.font = font;
    return measure.measureText(text).width;
  }

  function cut(text, font, room) {
    if (width(text, font) <= room) return text;
    let letters = [...text]; // never half of a surrogate pair
    while (letters.length > 1 && width(letters.join("") + "…", font) > room) letters = letters.slice(0, Math.floor(letters.length * 0.9));
    return letters.join("") + "…";
  }

  function element(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  }

  function words(box) {
    return box.parts || !SIGNS[box.state] ? box.words : `${SIGNS[box.state]} ${box.words}`;
  }

  function measured(box) {
    const lines = [...box.lines, words(box)];
    const widest = Math.max(width(box.title, BOLD), ...lines.map((line) => width(line, PLAIN)));
    box.width = Math.min(Math.max(Math.ceil(widest) + 2 * PAD + 1, NARROWEST), WIDEST);
    box.height = PAD + LINE * (1 + lines.length) + 8;
    return box;
  }

  // Where each box is, the path of each arrow, and the size of all; boxes without arrows stand in rows below the others.
  function laidOut(data, most) {
    const ids = new Set(data.arrows.flat());
    const held = { boxes: data.boxes.map(measured).filter((box) => ids.has(box.id)), arrows: data.arrows, kind: data.kind };
    const layout = held.boxes.length ? byDagre(held, most) : { arrows: [], width: 0, height: 16 };
    const rows = inRows(data.boxes.filter((box) => !ids.has(box.id)), most, layout.height);
    const wide = Math.max(layout.width, ...rows.map((row) => row.width));
    centred(rows, wide);
    for (const box of held.boxes) box.x += (wide - layout.width) / 2;
    const end = rows.length ? rows[rows.length - 1].bottom + 16 : layout.height;
    return { boxes: data.boxes, arrows: layout.arrows, shift: (wide - layout.width) / 2, width: wide, height: end };
  }

  function byDagre(data, most) {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: data.kind === "table" ? "RL" : "TB", nodesep: GAP, ranksep: STEP, marginx: 16, marginy: 16 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const box of data.boxes) graph.setNode(box.id, box);
    for (const [one, other] of data.arrows) graph.setEdge(one, other);
    dagre.layout(graph);
    const size = graph.graph();
    if (data.kind !== "table" && size.width > 2 * most) return folded(data, most);
    const curve = d3.line((point) => point.x, (point) => point.y).curve(d3.curveBasis);
    const arrows = graph.edges().map((edge) => ({ from: edge.v, to: edge.w, path: curve(graph.edge(edge).points) }));
    return { arrows, width: size.width, height: size.height };
  }

  // Where hundreds stand side by side, no screen shows them: rows of as many as can be seen, and straight arrows.
  function folded(data, most) {
    const levels = new Map();
    for (const box of data.boxes) levels.set(box.y, [...(levels.get(box.y) || []), box]);
    let end = 16 - STEP;
    const rows = [];
    for (const y of [...levels.keys()].sort((a, b) => a - b)) {
      rows.push(...inRows(levels.get(y).sort((a, b) => a.x - b.x), most, end + STEP));
      end = rows[rows.length - 1].bottom;
    }
    const wide = Math.max(...rows.map((row) => row.width));
    centred(rows, wide);
    const there = new Map(data.boxes.map((box) => [box.id, box]));
    const link = d3.linkVertical().x((point) => point[0]).y((point) => point[1]);
    const arrows = data.arrows.map(([from, to]) => {
      const one = there.get(from), other = there.get(to);
      return { from, to, path: link({ source: [one.x, one.y + one.height / 2], target: [other.x, other.y - other.height / 2] }) };
    });
    return { arrows, width: wide, height: end + 16 };
  }

  function inRows(boxes, most, top) {
    const rows = [];
    let row = null;
    for (const box of boxes) {
      if (!row || row.width + box.width + 16 > most) {
        row = { boxes: [], width: 16, top: row ? row.bottom + GAP : top, bottom: 0 };
        rows.push(row);
      }
      box.x = row.width + (row.boxes.length ? GAP - 16 : 0) + box.width / 2;
      box.y = row.top + box.height / 2;
      row.width = box.x + box.width / 2 + 16;
      row.bottom = Math.max(row.bottom, row.top + box.height);
      row.boxes.push(box);
    }
    return rows;
  }

  function centred(rows, wide) {
    for (const row of rows) {
      for (const box of row.boxes) box.x += (wide - row.width) / 2;
    }
  }

  function draw(section, data) {
    const layout = laidOut(data, Math.max(1100, 1.4 * section.clientWidth));
    const svg = element("svg", { class: "drawing", role: "group", "aria-label": section.getAttribute("aria-label") });
    const marker = element("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, element("defs", {}, svg));
    element("path", { d: "M0,0 L8,4 L0,8 z" }, marker);
    const all = element("g", { class: layout.arrows.length > 200 ? "all dense" : "all" }, svg);
    const arrows = layout.arrows.map(({ from, to, path }) => ({ from, to, line: element("path", { class: "arrow", d: path, transform: `translate(${layout.shift},0)`, "marker-end": "url(#tip)" }, all) }));
    const groups = new Map();
    for (const box of layout.boxes) {
      const group = element("a", { href: box.href, transform: `translate(${box.x - box.width / 2},${box.y - box.height / 2})` }, all);
      if (box.center) group.classList.add("center");
      element("title", {}, group);
      element("rect", { class: `box ${box.state}`, width: box.width, height: box.height, rx: 7 }, group);
      element("text", { class: "title", x: PAD, y: PAD + 9 }, group).textContent = cut(box.title, BOLD, box.width - 2 * PAD);
      box.lines.forEach((text, number) => {
        element("text", { class: "line", x: PAD, y: PAD + 9 + LINE * (number + 1) }, group).textContent = cut(text, PLAIN, box.width - 2 * PAD);
      });
      element("text", { class: "line words", x: PAD, y: PAD + 9 + LINE * (box.lines.length + 1) }, group);
      const one = { group, box };
      groups.set(box.id, one);
      look(one);
    }
    section.querySelector(".waiting").remove();
    section.append(svg);
    return { svg, all, groups, arrows, size: layout };
  }

  function look({ group, box }) {
    group.querySelector("rect.box").setAttribute("class", `box ${box.state}`);
    group.querySelector(".words").textContent = cut(words(box), PLAIN, box.width - 2 * PAD);
    group.querySelector("title").textContent = [box.title, ...box.lines, box.words].join("\n");
    group.setAttribute("aria-label", [box.title, ...box.lines, box.words].join(", "));
    group.querySelectorAll(".part").forEach((old) => old.remove());
    const total = (box.parts || []).reduce((sum, [, number]) => sum + number, 0);
    const room = box.width - 2 * PAD;
    let at = PAD;
    for (const [state, number] of [...(box.parts || [])].reverse()) {
      element("rect", { class: `part ${state}`, x: at, y: box.height - 9, width: (room * number) / total, height: 4 }, group);
      at += (room * number) / total;
    }
  }

  // What a box is joined to stands out while it is pointed at, or has the focus.
  function joined(drawn) {
    for (const [id, { group }] of drawn.groups) {
      const shown = (is) => {
        for (const { from, to, line } of drawn.arrows) {
          if (from !== id && to !== id) continue;
          line.classList.toggle("near", is);
          drawn.groups.get(from === id ? to : from).group.classList.toggle("near", is);
        }
      };
      for (const [event, is] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) group.addEventListener(event, () => shown(is));
    }
  }

  function zoomable(section, drawn) {
    const view = d3.select(drawn.svg), all = d3.select(drawn.all), { size } = drawn;
    // A wheel or a finger that moves down the page is not held up here.
    const zoom = d3.zoom().scaleExtent([0.02, 3])
      .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey : !event.ctrlKey && !event.button))
      .on("zoom", (event) => all.attr("transform", event.transform));
    view.call(zoom).on("dblclick.zoom", null);
    const pause = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 200;
    const room = () => drawn.svg.getBoundingClientRect();
    const fitting = () => Math.min(1, room().width / size.width, room().height / size.height);
    function go(place, time) {
      (time ? view.transition().duration(time) : view).call(zoom.transform, place);
    }
    function fit(time) {
      const { width: w, height: h } = room(), scale = fitting();
      go(d3.zoomIdentity.translate((w - size.width * scale) / 2, Math.max(0, (h - size.height * scale) / 2)).scale(scale), time);
    }
    function at(box, scale, time) {
      const { width: w, height: h } = room();
      // Not further than to the edge of the drawing, where that is larger than the frame.
      const kept = (middle, frame, whole) => (whole * scale <= frame ? (frame - whole * scale) / 2 : Math.min(0, Math.max(frame - whole * scale, frame / 2 - middle * scale)));
      go(d3.zoomIdentity.translate(kept(box.x, w, size.width), kept(box.y, h, size.height)).scale(scale), time);
    }
    const to = (box) => at(box, Math.max(0.8, d3.zoomTransform(drawn.svg).k), pause);
    section.querySelector(".in").onclick = () => view.transition().duration(pause).call(zoom.scaleBy, 1.4);
    section.querySelector(".out").onclick = () => view.transition().duration(pause).call(zoom.scaleBy, 1 / 1.4);
    section.querySelector(".fit").onclick = () => fit(pause);
    for (const { group, box } of drawn.groups.values()) {
      group.addEventListener("focus", () => { if (group.matches(":focus-visible")) to(box); });
    }
    const scale = Math.min(1, Math.max(LEGIBLE, room().width / size.width));
    drawn.svg.setAttribute("height", Math.ceil(Math.max(160, Math.min(size.height * scale, 0.7 * innerHeight))));
    if (fitting() >= LEGIBLE) fit(0);
    else at(first(drawn), LEGIBLE + 0.1, 0);
    return { to };
  }

  // What is to be seen first of a drawing that is too large.
  function first(drawn) {
    const boxes = [...drawn.groups.values()].map((one) => one.box);
    const inState = (state) => boxes.find((box) => box.state === state);
    return boxes.find((box) => box.center) || inState("failed") || inState("running") || boxes[boxes.length - 1];
  }

  function searchable(section, drawn, view) {
    const field = section.querySelector(".find"), found = section.querySelector(".found");
    const elsewhere = section.dataset.elsewhere;
    let hits = [];
    field.addEventListener("input", () => {
      const text = field.value.trim().toLowerCase();
      hits = [];
      for (const one of drawn.groups.values()) {
        const hit = text && [one.box.title, ...one.box.lines, one.box.words].join(" ").toLowerCase().includes(text);
        one.group.classList.toggle("hit", Boolean(hit));
        one.group.classList.toggle("faded", Boolean(text) && !hit);
        if (hit) hits.push(one);
      }
      found.textContent = !text ? "" : hits.length || !elsewhere ? `${hits.length} found` : "Not drawn: Enter looks in the list";
      if (hits.length) view.to(hits[0].box);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { field.value = ""; field.dispatchEvent(new Event("input")); }
      if (event.key !== "Enter" || !field.value.trim()) return;
      if (hits.length) hits[0].group.focus();
      else if (elsewhere) location.href = elsewhere + encodeURIComponent(field.value.trim());
    });
  }

  function noted(section, text) {
    const note = document.createElement("p");
    note.className = "quiet";
    note.textContent = text;
    section.querySelector(".tools").after(note);
  }

  async function start(section) {
    const waiting = section.querySelector(".waiting");
    waiting.textContent = "Drawing…";
    let data;
    try {
      const answer = await fetch(section.dataset.graph);
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      data = await answer.json();
    } catch (error) {
      waiting.textContent = `This cannot be drawn now: ${error.message}. Reload the page to try again.`;
      return;
    }
    for (const link of document.querySelectorAll("[data-kind]")) {
      if (link.dataset.kind === data.kind) link.setAttribute("aria-current", "true");
    }
    if (!data.boxes.length) {
      waiting.textContent = "There is nothing to draw.";
    } else {
      const drawn = draw(section, data);
      joined(drawn);
      searchable(section, drawn, zoomable(section, drawn));
      if (data.left_out) noted(section, `${data.left_out.toLocaleString("en")} more are not drawn: these are nearest to the root. Open a task and show what is around it to see others.`);
      section.dispatchEvent(new CustomEvent("drawn", { detail: { groups: drawn.groups, look } }));
    }
    section.dataset.drawn = "yes";
  }

  for (const section of document.querySelectorAll("[data-graph]")) start(section);
})();
