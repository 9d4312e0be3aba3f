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
  const OURS = ["tab", "dataset", "left", "right", "history", "target", "k", "beam",
    "leave_out_seen", "decoding", "side", "tree_beam", "explore", "item", "prefix", "title",
    "description", "only_new"];
  for (const part of location.search.slice(1).split("&")) {
    const [name, value] = part.split(/=(.*)/s);
    if (name) (OURS.includes(name) ? state : foreign).set(name, value || "");
  }
  const written = (map) => [...map].filter(([, v]) => v !== "").map(([k, v]) => `${k}=${v}`);
  const query = () => OURS.filter((k) => state.get(k)).map((k) => `${k}=${state.get(k)}`).join("&");
  const link = () => {
    const q = query();
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
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      out.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
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
        id.textContent = one.title === one.id ? "" : one.id;
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
    input.addEventListener("focus", () => { if (!quiet) ask(); quiet = false; });
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
      else if (offer) { offer.disabled = true; trigger("select", { offer: offer.dataset.offer }); }
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

  // ---- the map: the point nearest to the pointer -------------------------------------------
  const map = (element, trigger, title) => {
    const nearest = (e) => {
      const box = e.target.closest(".map");
      if (!box) return null;
      if (!box.points) box.points = JSON.parse(box.dataset.points);
      const frame = box.querySelector("svg").getBoundingClientRect();
      const x = (1000 * (e.clientX - frame.left)) / frame.width;
      const y = 1000 - (1000 * (e.clientY - frame.top)) / frame.height;
      const { rows, xy, titles } = box.points;
      let best = -1, least = 900;
      for (let i = 0; i < rows.length; i++) {
        const d = (xy[2 * i] - x) ** 2 + (xy[2 * i + 1] - y) ** 2;
        if (d < least) { least = d; best = i; }
      }
      return best < 0 ? null : { box, row: rows[best], title: titles && titles[best],
        left: xy[2 * best] / 10, top: 100 - xy[2 * best + 1] / 10 };
    };
    element.addEventListener("pointermove", (e) => {
      const found = nearest(e);
      element.querySelectorAll(".map-tip").forEach((tip) => {
        tip.classList.toggle("is-on", Boolean(found && found.title));
        if (found && found.title) {
          tip.textContent = found.title;
          tip.style.left = `${Math.min(Math.max(found.left, 12), 88)}%`;
          tip.style.top = `${found.top}%`;
        }
      });
    });
    element.addEventListener("click", (e) => {
      const found = nearest(e);
      if (found) trigger("select", { row: found.row });
    });
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

  window.diger = { asked, sync, tab, stale, arrived, combo, pressable, map, copy, save, dark, theme, link, query };
})();
