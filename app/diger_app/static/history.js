// The history: search, add, remove, reorder, clear. props.value is {dataset, items, target}.
const root = element, value = () => props.value || { dataset: "", items: [], target: null };
const list = root.querySelector(".hist-list");
const said = root.querySelector(".hist-said");

const change = (items, message) => {
  props.value = { ...value(), items, target: null }; // an edited history has no known next item
  draw();
  said.textContent = message;
  window.diger.stale(true);
  clearTimeout(asking); // several presses in a row are one question
  asking = setTimeout(() => trigger("input"), 60);
};
let asking = 0;
const move = (from, to) => {
  const items = [...value().items];
  if (to < 0 || to >= items.length || from === to) return;
  const [one] = items.splice(from, 1);
  items.splice(to, 0, one);
  change(items, `${one.title} is now number ${to + 1}`);
};
const button = (text, label, press, off) => {
  const b = document.createElement("button");
  b.type = "button"; b.textContent = text; b.setAttribute("aria-label", label); b.title = label;
  b.disabled = Boolean(off);
  b.addEventListener("click", press);
  return b;
};
const focusOn = (i, k) => {
  const row = list.children[Math.min(i, list.children.length - 1)];
  const b = row && row.querySelectorAll("button")[k];
  if (!row) toSearch();
  else (b && !b.disabled ? b : row.querySelectorAll("button")[2]).focus();
};

function draw() {
  const { items } = value();
  window.diger.wanted = items.map((one) => one.id);
  root.querySelector(".hist-count").textContent = items.length || "";
  root.querySelector(".hist-clear").hidden = !items.length;
  root.querySelector(".hist-none").hidden = items.length > 0;
  list.replaceChildren(...items.map((one, i) => {
    const li = document.createElement("li");
    li.draggable = true;
    const name = document.createElement("span");
    name.className = "hist-title"; name.dir = "auto"; name.textContent = one.title; name.title = one.title;
    const tools = document.createElement("span");
    tools.className = "hist-tools";
    tools.append(
      button("↑", `Move ${one.title} earlier`, () => { move(i, i - 1); focusOn(i - 1, 0); }, i === 0),
      button("↓", `Move ${one.title} later`, () => { move(i, i + 1); focusOn(i + 1, 1); }, i === items.length - 1),
      button("✕", `Remove ${one.title}`, () => {
        change(value().items.filter((_, j) => j !== i), `${one.title} removed`); focusOn(i, 2);
      }),
    );
    li.append(name, tools);
    li.addEventListener("dragstart", (e) => { e.dataTransfer.setData("text/plain", String(i)); e.dataTransfer.effectAllowed = "move"; });
    li.addEventListener("dragover", (e) => { e.preventDefault(); li.classList.add("is-over"); });
    li.addEventListener("dragleave", () => li.classList.remove("is-over"));
    li.addEventListener("drop", (e) => { e.preventDefault(); move(Number(e.dataTransfer.getData("text/plain")), i); });
    return li;
  }));
}

const add = (one) => {
  if (value().items.length >= props.most) {
    said.textContent = `A history here holds ${props.most} items; remove one first.`;
    return false;
  }
  change([...value().items, one], `${one.title} added`);
  list.scrollTop = list.scrollHeight;
  return true;
};
window.diger.add = add; // other tabs add too
const toSearch = window.diger.combo(
  root.querySelector(".combo"), (typed) => server.suggest(value().dataset, typed), add,
);
root.querySelector(".hist-clear").addEventListener("click", () => {
  change([], "The history is empty"); toSearch();
});
watch("value", draw);
draw();
