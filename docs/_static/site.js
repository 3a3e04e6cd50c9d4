// From a file, a browser does not let the search read the pages it has found; their titles do.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// What scrolls sideways, code and tables mostly, can be reached with the keyboard.
addEventListener("load", () => {
  const boxes = document.querySelectorAll("article pre, article .table-wrapper, article .output");
  for (const box of boxes) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
});
