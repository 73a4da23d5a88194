// The page of a link: the token is behind the # of its address, which browsers send nowhere.
const element = document.querySelector("taskyard-progress");

const read = () => {
  const token = location.hash.slice(1);
  document.querySelector("[data-incomplete]").hidden = token !== "";
  element.hidden = token === "";
  element.setAttribute("token", token);
};

window.addEventListener("hashchange", read);
read();
