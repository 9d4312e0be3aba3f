// The map: zoom and pan, the point nearest to the pointer, names of what is seen large, and the
// flight of what moved, also when the server has drawn the map anew for another model.
let lens = null, map = null, before = null;
const paint = ({ k, x, y }) => {
  const svg = map.querySelector("svg"), w = map.clientWidth || 1, h = map.clientHeight || 1;
  const wide = 1000 * Math.max(1, w / h), high = 1000 * Math.max(1, h / w);
  map.view = { w: wide / k, h: high / k, x: 500 + (x - 0.5) * wide - wide / k / 2, y: 500 + (y - 0.5) * high - high / k / 2 };
  svg.setAttribute("viewBox", `${map.view.x} ${map.view.y} ${map.view.w} ${map.view.h}`);
  // Marks keep their size: units of the drawing in a pixel of the page.
  svg.style.setProperty("--z", map.view.h / h);
  clearTimeout(map.naming);
  map.naming = setTimeout(names, 160);
};
const place = (i) => {
  const { xy, flown } = map.points;
  const there = map.dataset.side === "after" && flown[i];
  return there || [xy[2 * i], xy[2 * i + 1]];
};
// Labels of places: those that stand whole, on no other and on no mark.
const labels = () => {
  const frame = map.getBoundingClientRect();
  const taken = [...map.querySelectorAll(".map-marks g")].map((mark) => mark.getBoundingClientRect());
  for (const text of map.querySelectorAll(".map-labels text")) {
    const r = text.getBoundingClientRect();
    const clear = r.left >= frame.left && r.right <= frame.right &&
      taken.every((o) => r.right < o.left || r.left > o.right || r.bottom < o.top || r.top > o.bottom);
    text.style.visibility = clear ? "" : "hidden";
    if (clear) taken.push(r);
  }
};
// Names of the points seen, once they are few.
const names = () => {
  labels();
  const layer = map.querySelector(".map-names"), { titles, rows } = map.points, v = map.view;
  layer.replaceChildren();
  if (!titles || lens.at.k < 2.5) return;
  const seen = [], taken = [];
  for (let i = 0; i < rows.length; i++) {
    const [x, y] = place(i);
    if (x > v.x && x < v.x + v.w && y > v.y && y < v.y + v.h) seen.push([i, x, y]);
  }
  if (seen.length > 220) return;
  for (const [i, x, y] of seen) {
    const w = titles[i].length * 0.011 * v.h, h = 0.03 * v.h;
    if (taken.some(([a, b, c]) => Math.abs(y - b) < h && x < a + c && a < x + w)) continue;
    taken.push([x, y, w]);
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    text.setAttribute("x", x); text.setAttribute("y", y);
    text.textContent = titles[i];
    layer.append(text);
  }
};
const nearest = (e) => {
  const r = map.querySelector("svg").getBoundingClientRect(), v = map.view;
  const x = v.x + ((e.clientX - r.left) / r.width) * v.w, y = v.y + ((e.clientY - r.top) / r.height) * v.h;
  let best = -1, least = (0.03 * v.h) ** 2;
  for (let i = 0; i < map.points.rows.length; i++) {
    const [a, b] = place(i), d = (a - x) ** 2 + (b - y) ** 2;
    if (d < least) { least = d; best = i; }
  }
  return best;
};
const tip = (i) => {
  const out = map.querySelector(".map-tip"), title = i >= 0 && map.points.titles && map.points.titles[i];
  out.classList.toggle("is-on", Boolean(title));
  if (!title) return;
  const [x, y] = place(i), v = map.view;
  out.textContent = title;
  out.style.left = `${Math.min(Math.max(100 * (x - v.x) / v.w, 12), 88)}%`;
  out.style.top = `${Math.max(100 * (y - v.y) / v.h, 6)}%`;
};
const goto = (row, k = 4) => {
  const i = map.points.rows.indexOf(row);
  if (i < 0) return;
  const [x, y] = place(i), w = map.clientWidth, h = map.clientHeight;
  lens.to(Math.max(k, lens.at.k), 0.5 + (x - 500) / (1000 * Math.max(1, w / h)), 0.5 + (y - 500) / (1000 * Math.max(1, h / w)));
  setTimeout(() => tip(i), 500);
};
window.diger.anew(element, ".map", (found) => {
  const { key, side, here } = found.dataset, was = before && before.key === key ? before : null;
  map = found;
  map.points = JSON.parse(map.dataset.points);
  const seen = lens && was && { ...lens.at };
  lens = window.diger.zoomable(map, paint, 24);
  if (seen) Object.assign(lens.at, seen);
  lens.draw();
  new ResizeObserver(() => lens.draw()).observe(found);
  if (was && key && was.side !== side) {
    map.dataset.side = was.side; // from there it flies
    void map.offsetWidth;
    requestAnimationFrame(() => { found.dataset.side = side; names(); });
  } else if (here && !(before && before.here === here)) goto(Number(here));
  before = { key, side, here };
});
element.addEventListener("pointermove", (e) => { if (map && e.target.closest(".map")) tip(e.target.closest("[data-zoom]") ? -1 : nearest(e)); });
element.addEventListener("click", (e) => {
  const zoom = e.target.closest("[data-zoom]"), turn = e.target.closest("[data-turn]");
  const go = e.target.closest("[data-goto]");
  if (zoom) lens.press(zoom.dataset.zoom);
  else if (turn) document.querySelector(`#explore-side input[value="${turn.dataset.turn}"]`).click();
  else if (go) { goto(Number(go.dataset.goto), 5); map.scrollIntoView({ block: "nearest" }); }
  else if (map && e.target.closest(".map")) {
    const i = nearest(e);
    if (i >= 0) trigger("select", { row: map.points.rows[i] });
  }
});
