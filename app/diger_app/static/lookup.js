// The search box of Explore: one item. props.value is {dataset, id, title}.
const name = element.querySelector(".look-name");
const draw = () => {
  const one = props.value || {};
  name.textContent = one.title || "";
};
window.diger.combo(
  element.querySelector(".combo"),
  (typed) => server.suggest((props.value || {}).dataset || "", typed),
  (one) => { props.value = { ...(props.value || {}), ...one }; draw(); trigger("select", one); },
);
watch("value", draw);
draw();
