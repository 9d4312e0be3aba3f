// Watch it think: the levels one after another, both models at once; zoom, pan, what a branch says.
const room = () => element.querySelector(".thinking");
let clock = 0;
const stop = () => {
  clearInterval(clock); clock = 0;
  const one = room();
  if (!one) return;
  one.classList.remove("is-playing");
  one.querySelector(".tree-play").textContent = "▶ Play";
};
const step = (to) => { room().querySelector(`.step-${to}`).checked = true; };
const play = () => {
  const one = room(), last = Number(one.dataset.levels);
  let at = 1;
  stop();
  one.classList.add("is-playing");
  one.querySelector(".tree-play").textContent = "Stop";
  step(at);
  clock = setInterval(() => {
    if (!one.isConnected || at >= last) { stop(); return; }
    step(++at);
  }, 1700);
};
const lenses = new Map();
const fit = (zoom) => {
  const tree = zoom.querySelector(".tree");
  const lens = window.diger.zoomable(zoom, ({ k, x, y }) => {
    const w = zoom.clientWidth, h = zoom.clientHeight, th = tree.offsetHeight;
    if (!w || !th) return;
    // All rows fit; columns are as wide as there is room, and cards show more words there.
    const whole = Math.min(h / th, 1.25);
    tree.style.setProperty("--cw", `${Math.max(w / whole / tree.dataset.columns, 84)}px`);
    const tw = tree.offsetWidth, s = Math.min(whole, w / tw) * k;
    // All of it in the middle while it fits, and no further than its rim when larger.
    const along = (room, size, share) => (size * s <= room ? (room - size * s) / 2
      : Math.min(0, Math.max(room - size * s, room / 2 - (share - 0.5) * k * room - size * s / 2)));
    tree.style.transform = `translate(${along(w, tw, x)}px, ${along(h, th, y)}px) scale(${s})`;
  }, 4);
  lenses.set(zoom, lens);
  new ResizeObserver(() => lens.draw()).observe(zoom);
  lens.draw();
};
window.diger.anew(element, ".thinking", (one) => {
  lenses.clear();
  one.querySelectorAll(".zoom").forEach(fit);
  if (!window.diger.calm() && one.checkVisibility()) play(); else stop();
});
element.addEventListener("click", (e) => {
  const zoom = e.target.closest("[data-zoom]"), branch = e.target.closest(".branch");
  if (e.target.closest(".tree-play")) clock ? stop() : play();
  else if (e.target.closest(".stepper")) stop();
  else if (zoom) lenses.forEach((lens) => lens.press(zoom.dataset.zoom));
  else if (branch) element.querySelector(".tree-said").textContent = branch.title;
});
for (const name of ["pointerover", "focusin"]) {
  element.addEventListener(name, (e) => {
    const branch = e.target.closest && e.target.closest(".branch");
    if (branch) element.querySelector(".tree-said").textContent = branch.title;
  });
}
