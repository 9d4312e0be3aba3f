// Shared by the page's islands: the address bar as the only state, the search box, copying,
// the map and the theme. Plain browser code, nothing fetched from elsewhere.
(() => {
  if (window.diger) return;

  // ---- the view in the query string -------------------------------------------------------
  // Results carry their part of the query (already percent-encoded) in data-state; "" is default.
  const asked = location.search; // what the page was opened with, before anything changes it
  let ready = false; // tabs report themselves while the page is built; that is nobody's choice
  const foreign = new Map(); // parameters of the host page, such as __theme, kept as they are
  const state = new Map();
  const OURS = ["tab", "dataset", "left", "right", "third", "history", "target", "k", "beam",
    "leave_out_seen", "decoding", "side", "tree_beam", "explore", "item", "prefix", "title",
    "description", "only_new"];
  for (const part of location.search.slice(1).split("&")) {
    const [name, value] = part.split(/=(.*)/s);
    if (name) (OURS.includes(name) ? state : foreign).set(name, value || "");
  }
  const written = (map) => [...map].filter(([, v]) => v !== "").map(([k, v]) => `${k}=${v}`);
  const query = () => OURS.filter((k) => state.get(k)).map((k) => `${k}=${state.get(k)}`).join("&");
  // A link made on "Take it away" leads to where one came from.
  let last = "";
  const link = () => {
    const q = OURS.map((k) => [k, k === "tab" && state.get(k) === "share" ? last : state.get(k)])
      .filter(([, v]) => v).map(([k, v]) => `${k}=${v}`).join("&");
    return location.origin + location.pathname + (q ? `?${q}` : "");
  };
  const show = () => {
    const q = [query(), ...written(foreign)].filter(Boolean).join("&");
    const address = location.pathname + (q ? `?${q}` : "") + location.hash;
    if (address !== location.pathname + location.search + location.hash) {
      history.replaceState(history.state, "", address);
      // A Space runs in a frame: its own page shows the same query when told so.
      if (window.parent !== window) {
        window.parent.postMessage({ queryString: q }, "https://huggingface.co");
      }
    }
    document.dispatchEvent(new CustomEvent("diger:view"));
  };
  const sync = (root) => {
    const holder = root.querySelector("[data-state]");
    if (!holder) return;
    for (const [name, value] of Object.entries(JSON.parse(holder.dataset.state))) {
      state.set(name, value);
    }
    ready = true;
    show();
  };
  const tab = (name) => {
    if (!ready) return;
    const before = state.get("tab") || "";
    if (name === "share" && before !== "share") last = before;
    state.set("tab", name === "recommend" ? "" : name);
    show();
  };

  // ---- results that are older than what is set beside them ---------------------------------
  const stale = (is) => {
    document.querySelectorAll(".compare-results").forEach((r) => r.classList.toggle("is-stale", is));
  };
  // An answer to a history that has changed since does not pass as current.
  const arrived = (root) => {
    const holder = root.querySelector("[data-state]");
    const state = holder ? JSON.parse(holder.dataset.state) : {};
    const read = (state.history || "").split(",").filter(Boolean).map(decodeURIComponent);
    const wanted = window.diger.wanted || read;
    if (!holder || read.join("\n") === wanted.join("\n")) stale(false);
  };

  // On a narrow screen results are below what is pressed: bring them into view.
  const reveal = () => {
    const out = document.querySelector(".compare-results");
    if (out && out.getBoundingClientRect().top > innerHeight * 0.7) {
      out.scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
    }
  };
  document.addEventListener("click", (e) => {
    if (e.target.closest("[data-example]")) reveal();
  });

  // ---- a search box whose suggestions come from the server (WAI-ARIA combobox) -------------
  const combo = (root, search, choose) => {
    const input = root.querySelector("input");
    const list = root.querySelector("[role=listbox]");
    const status = root.querySelector(".combo-status");
    let options = [], at = -1, asked = 0, timer = 0, quiet = false, shownFor = null;
    const close = () => {
      list.hidden = true; at = -1; shownFor = null;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    };
    const mark = (next) => {
      at = options.length ? (next + options.length) % options.length : -1;
      list.querySelectorAll("[role=option]").forEach((node, i) => node.setAttribute("aria-selected", String(i === at)));
      if (at >= 0) {
        input.setAttribute("aria-activedescendant", list.children[at].id);
        list.children[at].scrollIntoView({ block: "nearest" });
      }
    };
    const pick = (i) => {
      const one = options[i];
      input.value = ""; asked++; clearTimeout(timer); close(); choose(one);
    };
    const open = (found, typed) => {
      options = found; shownFor = typed; list.replaceChildren();
      found.forEach((one, i) => {
        const node = document.createElement("li");
        node.id = `${list.id}-${i}`;
        node.setAttribute("role", "option");
        node.dir = "auto";
        const name = document.createElement("span");
        name.textContent = one.title;
        const id = document.createElement("small");
        id.textContent = one.by || (one.title === one.id ? "" : one.id);
        node.append(name, id);
        node.addEventListener("pointerdown", (e) => { e.preventDefault(); pick(i); });
        list.append(node);
      });
      if (!found.length) {
        const node = document.createElement("li");
        node.className = "none";
        node.textContent = `Nothing is like “${typed.slice(0, 40)}”; try a word of the title.`;
        list.append(node);
      }
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      status.textContent = found.length ? `${found.length} suggestions` : "no suggestions";
      mark(found.length ? 0 : -1);
    };
    const ask = async () => {
      const mine = ++asked, typed = input.value;
      try {
        const found = await search(typed);
        if (mine === asked && document.activeElement === input) open(found || [], typed);
      } catch (error) {
        status.textContent = "The search did not answer; try again.";
      }
    };
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 90); });
    input.addEventListener("focus", () => {
      if (!quiet) ask();
      quiet = false;
      // A phone's keyboard takes half of the screen: what is found needs the rest.
      if (innerWidth <= 860) root.scrollIntoView({ block: "start" });
    });
    input.addEventListener("blur", () => { asked++; close(); });
    input.addEventListener("keydown", (e) => {
      if (e.key === "ArrowDown") { list.hidden ? ask() : mark(at + 1); e.preventDefault(); }
      else if (e.key === "ArrowUp" && !list.hidden) { mark(at - 1); e.preventDefault(); }
      else if (e.key === "Enter") {
        e.preventDefault();
        if (shownFor === input.value) { if (at >= 0) pick(at); }
        // Typed faster than the server answers: take what fits the words, not what is still shown.
        else if (input.value.trim()) { clearTimeout(timer); ask().then(() => { if (at >= 0) pick(at); }); }
      }
      else if (e.key === "Escape") close();
    });
    return () => { quiet = document.activeElement !== input; input.focus(); };
  };

  // ---- pressing things in results: a title looks its item up, a code goes down a level -----
  const pressable = (element, trigger) => {
    element.addEventListener("click", (e) => {
      const look = e.target.closest("[data-look]");
      const prefix = e.target.closest("[data-prefix]");
      const example = e.target.closest("[data-example]");
      const offer = e.target.closest("[data-offer]");
      if (look) trigger("select", { look: look.dataset.look });
      else if (prefix) trigger("select", { prefix: prefix.dataset.prefix });
      else if (example) trigger("select", { example: Number(example.dataset.example) });
      const add = e.target.closest("[data-add]");
      if (add && window.diger.add({ id: add.dataset.add, title: add.dataset.title })) {
        add.classList.add("is-added");
        // Once the history has taken it, what is drawn here is drawn anew with it.
        setTimeout(() => trigger("input"), 120);
      }
      else if (offer) { offer.disabled = true; trigger("select", { offer: offer.dataset.offer }); }
    });
    element.addEventListener("change", (e) => {
      const choice = e.target.closest("[data-column]");
      if (choice) trigger("input", { column: choice.dataset.column, bundle: choice.value });
    });
    // What both lists hold lights up together, also by keyboard.
    const light = (e, on) => {
      const one = e.target.closest && e.target.closest("[data-key]");
      if (!one) return;
      element.querySelectorAll(`[data-key="${one.dataset.key}"]`)
        .forEach((node) => node.classList.toggle("is-lit", on));
    };
    for (const name of ["pointerover", "focusin"]) element.addEventListener(name, (e) => light(e, true));
    for (const name of ["pointerout", "focusout"]) element.addEventListener(name, (e) => light(e, false));
  };

  // ---- zoom and pan: wheel, pinch, drag, buttons and keys ----------------------------------
  // `box` is what is looked through; draw({ k, x, y }) shows it, (x, y) the middle in shares of
  // the whole, k how many times larger than when all of it fits.
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const zoomable = (box, draw, most = 12) => {
    const at = { k: 1, x: 0.5, y: 0.5 };
    const held = new Map();
    let moved = 0, flight = 0;
    const clamp = () => {
      at.k = Math.min(Math.max(at.k, 1), most);
      const rim = 0.5 / at.k;
      at.x = Math.min(Math.max(at.x, rim), 1 - rim);
      at.y = Math.min(Math.max(at.y, rim), 1 - rim);
      draw(at);
    };
    const by = (factor, px = 0.5, py = 0.5) => { // (px, py) of the box stays where it is
      const k = Math.min(Math.max(at.k * factor, 1), most);
      at.x += (px - 0.5) * (1 / at.k - 1 / k);
      at.y += (py - 0.5) * (1 / at.k - 1 / k);
      at.k = k;
      clamp();
    };
    const to = (k, x = 0.5, y = 0.5) => {
      cancelAnimationFrame(flight);
      const from = { ...at }, began = performance.now(), length = calm() ? 0 : 450;
      const step = (now) => {
        const t = length ? Math.min((now - began) / length, 1) : 1, s = t * t * (3 - 2 * t);
        at.k = from.k * (k / from.k) ** s;
        at.x = from.x + (x - from.x) * s; at.y = from.y + (y - from.y) * s;
        clamp();
        if (t < 1) flight = requestAnimationFrame(step);
      };
      step(began);
    };
    const share = (e) => {
      const r = box.getBoundingClientRect();
      return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height];
    };
    box.addEventListener("wheel", (e) => {
      // At its smallest a page goes on scrolling; a press of Ctrl is a pinch on a touchpad.
      if (!e.ctrlKey && at.k === 1 && e.deltaY > 0) return;
      e.preventDefault();
      by(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.002)), ...share(e));
    }, { passive: false });
    box.addEventListener("pointerdown", (e) => {
      moved = 0; // a press of a button after a drag is a press
      if (!e.target.closest("[data-zoom]")) held.set(e.pointerId, share(e));
    });
    box.addEventListener("pointermove", (e) => {
      const before = held.get(e.pointerId);
      if (!before) return;
      const now = share(e), dx = now[0] - before[0], dy = now[1] - before[1];
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== e.pointerId)[1];
        const gap = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
        if (gap(before) > 0.01) by(gap(now) / gap(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
        moved = 99;
      } else {
        moved += Math.hypot(e.movementX, e.movementY);
        if (moved > 5 && at.k > 1) { at.x -= dx / at.k; at.y -= dy / at.k; clamp(); }
      }
      held.set(e.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      box.addEventListener(name, (e) => held.delete(e.pointerId));
    }
    box.addEventListener("click", (e) => { if (moved > 5) { e.stopPropagation(); e.preventDefault(); } }, true);
    box.addEventListener("keydown", (e) => {
      const go = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
      if (e.key === "+" || e.key === "=") by(1.5);
      else if (e.key === "-") by(1 / 1.5);
      else if (e.key === "0") to(1);
      else if (go && at.k > 1) { at.x += 0.1 * go[0] / at.k; at.y += 0.1 * go[1] / at.k; clamp(); }
      else return;
      e.preventDefault();
    });
    const press = (what) => (what === "fit" ? to(1) : by(what === "in" ? 1.6 : 1 / 1.6));
    return { at, by, to, press, draw: clamp };
  };

  // ---- what a script draws into -------------------------------------------------------------
  // Gradio writes new results into the elements of the old ones, listeners and all: each time a
  // fresh copy takes their place, and `begin` gets it.
  const anew = (root, what, begin) => {
    const look = () => {
      const found = root.querySelector(`${what}:not([data-begun])`);
      if (!found) return;
      const copy = found.cloneNode(true);
      copy.dataset.begun = "";
      found.replaceWith(copy);
      begin(copy);
    };
    new MutationObserver(look).observe(root, { childList: true, subtree: true, attributeFilter: ["data-begun"] });
    look(); // a tab that opens late has its content already
  };

  // ---- copying, saving, theme ---------------------------------------------------------------
  const copy = async (text, button) => {
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch (error) {
      const area = document.createElement("textarea"); // no clipboard without https
      area.value = text; document.body.append(area); area.select();
      done = document.execCommand("copy"); area.remove();
    }
    const label = button.textContent;
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, 1600);
  };
  const save = (text, name, type) => {
    const a = document.createElement("a");
    a.href = URL.createObjectURL(new Blob([text], { type }));
    a.download = name; a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 1000);
  };
  const dark = () => document.body.classList.contains("dark");
  const theme = (is) => {
    document.body.classList.toggle("dark", is);
    try { localStorage.setItem("diger-theme", is ? "dark" : "light"); } catch (error) { /* private */ }
    document.dispatchEvent(new CustomEvent("diger:theme"));
  };
  const remembered = () => {
    try { return localStorage.getItem("diger-theme"); } catch (error) { return null; }
  };
  if (remembered() && !foreign.get("__theme")) {
    const set = () => document.body.classList.toggle("dark", remembered() === "dark");
    document.body ? set() : addEventListener("DOMContentLoaded", set);
    setTimeout(set, 400); // after the page's own choice
  }

  window.diger = { asked, sync, tab, stale, arrived, combo, pressable, calm, zoomable, anew, copy, save, dark, theme, link, query };
})();
