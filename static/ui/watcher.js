/**
 * Owns: which posts are on screen now, told to the live side so that it sends the counts of these and no others.
 * Never does: debounce (live.js does) or know what a count is.
 */

const LINGER = '200px 0px'; // a little more than the screen: scrolling back does not ask again

export function createWatcher(onChange) {
  const visible = new Map(); // element -> post id
  const ids = new Map(); // element -> post id, all observed
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && ids.has(entry.target)) visible.set(entry.target, ids.get(entry.target));
      else visible.delete(entry.target);
    }
    report();
  }, { rootMargin: LINGER });

  function report() {
    onChange([...new Set(visible.values())]);
  }

  return {
    /** -> a function that ends it, for an effect's clean-up. */
    observe(element, postId) {
      ids.set(element, postId);
      observer.observe(element);
      return () => {
        observer.unobserve(element);
        ids.delete(element);
        if (visible.delete(element)) report();
      };
    },
  };
}
