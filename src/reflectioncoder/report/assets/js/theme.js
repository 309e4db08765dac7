// The system's theme, until the reader chooses another one.
document.getElementById("theme").addEventListener("input", (event) => {
  document.documentElement.dataset.theme = event.target.value;
});

// What is folded on the screen is wanted on paper.
window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
