// The theme button in the header.
const toggle = element.querySelector(".theme-toggle");
const draw = () => {
  const dark = window.diger.dark();
  toggle.textContent = dark ? "☀" : "☾";
  toggle.setAttribute("aria-label", dark ? "Switch to the light theme" : "Switch to the dark theme");
  toggle.title = toggle.getAttribute("aria-label");
};
toggle.addEventListener("click", () => window.diger.theme(!window.diger.dark()));
document.addEventListener("diger:theme", draw);
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
draw();
