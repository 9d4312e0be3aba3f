// The strip of the first screen: plays once when the page opens, and again when asked to. What is
// shown while nothing plays is the end; who asked for less motion only ever sees that.
const strip = () => element.querySelector(".strip");
let ends = 0, opened = false;
const still = () => {
  clearTimeout(ends);
  const one = strip();
  if (!one) return;
  one.classList.remove("is-playing");
  one.querySelector(".strip-play").textContent = window.diger.calm() ? "" : "▶ Play it again";
};
const play = () => {
  const one = strip();
  if (!one || window.diger.calm()) { still(); return; }
  clearTimeout(ends);
  one.classList.remove("is-playing");
  void one.offsetWidth; // begins anew
  one.classList.add("is-playing");
  one.querySelector(".strip-play").textContent = "Skip";
  ends = setTimeout(still, 1000 * Number(one.dataset.length));
};
// Before it is painted, or all of it would be seen for a moment first.
window.diger.anew(element, ".strip", (one) => {
  if (!opened && one.checkVisibility()) { opened = true; play(); } else still();
});
element.addEventListener("click", (e) => {
  if (!e.target.closest(".strip-play")) return;
  strip().classList.contains("is-playing") ? still() : play();
});
