/* A classic script in <head>: it runs before the first paint, so that a chosen theme never flashes in the other colour.
   ui/prefs.js owns the choice; this only reads it. */
try {
  var chosen = JSON.parse(localStorage.getItem('social.prefs') || '{}').theme;
  if (chosen === 'light' || chosen === 'dark') document.documentElement.setAttribute('data-theme', chosen);
} catch (error) {
  /* storage forbidden: the system's theme it is */
}
