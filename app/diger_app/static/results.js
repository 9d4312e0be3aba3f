// Any island of results: links inside are pressable, and its part of the view goes to the address.
window.diger.pressable(element, trigger);
const shown = () => {
  if (element.closest(".compare-results")) window.diger.arrived(element);
  window.diger.sync(element);
  // A choice that a person has touched keeps its place in the list, whatever is written there now.
  element.querySelectorAll("option[selected]").forEach((one) => { one.selected = true; });
};
watch("value", () => setTimeout(shown, 0)); // after the new content is in the page
shown();
