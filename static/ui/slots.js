/**
 * Owns: which entries of the long lists are drawn. One that is far from the screen keeps its place by the height that it
 * had, and nothing else of it stays in the page; so a page that was read for an hour is as light as a fresh one.
 * Never does: draw, or put away what the reader has hold of: what has the focus, or stands open (comments, editing).
 */

const NEAR_PX = 1_500; // drawn this far beyond the screen, so that nobody who scrolls at reading speed meets a blank
const IN_HAND = '[aria-expanded="true"], form.edit-form, dialog';

export function createSlots() {
  const heights = new Map(); // post id -> px when it was last put away
  const slots = new Map(); // element -> {id, near, drawn, draw}
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (slots.has(target)) slots.get(target).near = isIntersecting;
    }
    for (const [element, slot] of slots) settleOne(element, slot);
  }, { rootMargin: `${NEAR_PX}px 0px` });

  function settleOne(element, slot) {
    if (slot.near === slot.drawn || (slot.drawn && inHand(element))) return;
    if (slot.drawn) heights.set(slot.id, element.getBoundingClientRect().height);
    slot.drawn = slot.near;
    slot.draw(slot.drawn ? null : heights.get(slot.id));
  }

  return {
    /** The height in px that an entry had when it was put away, or null: then it is drawn. */
    height: (id) => heights.get(id) ?? null,

    /** `draw(height)` is told null to draw the entry, else the height to keep free for it. -> a function that ends it. */
    observe(element, id, drawn, draw) {
      slots.set(element, { id, near: drawn, drawn, draw });
      observer.observe(element);
      return () => {
        observer.unobserve(element);
        slots.delete(element);
      };
    },

    /** The page has just been scrolled from here: what is near now is drawn before the screen is painted. */
    settle() {
      for (const [element, slot] of slots) {
        const { top, bottom } = element.getBoundingClientRect();
        slot.near = bottom > -NEAR_PX && top < window.innerHeight + NEAR_PX;
      }
      for (const [element, slot] of slots) settleOne(element, slot);
    },
  };
}

function inHand(element) {
  return element.contains(document.activeElement) || element.querySelector(IN_HAND) !== null;
}
