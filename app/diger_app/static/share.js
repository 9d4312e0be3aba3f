// Take it away: the link, downloads, code to copy.
const field = element.querySelector("#share-link"), code = element.querySelector("#share-code");
const note = element.querySelector("#download-note");
const fresh = () => {
  field.value = window.diger.link();
  const at = (n) => new URLSearchParams(window.diger.query()).get(n) || "";
  const ids = at("history").split(",").filter(Boolean).slice(0, 5).map((id) => JSON.stringify(id));
  const place = location.origin + location.pathname;
  code.textContent =
    `from gradio_client import Client\n\nclient = Client(${JSON.stringify(place)})\n` +
    `client.predict(\n    history=[${ids.join(", ")}],\n` +
    `    dataset=${JSON.stringify(at("dataset"))},\n    k=10,\n    api_name="/recommend",\n)`;
};
document.addEventListener("diger:view", fresh);
fresh();
element.addEventListener("click", async (e) => {
  const copy = e.target.closest("[data-copy]"), download = e.target.closest("[data-download]");
  if (copy) {
    const source = element.querySelector("#" + copy.dataset.copy);
    window.diger.copy(source.value ?? source.textContent, copy);
  } else if (download) {
    const kind = download.dataset.download;
    note.textContent = "Preparing …";
    try {
      const made = await server.take(kind, window.diger.query());
      if (made.error) { note.textContent = made.error; return; }
      window.diger.save(made.text, made.name, kind === "csv" ? "text/csv;charset=utf-8" : "application/json");
      note.textContent = `${made.name} saved`;
    } catch (error) { note.textContent = "The server did not answer; try again."; }
  }
});
