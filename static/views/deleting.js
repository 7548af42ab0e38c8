/**
 * Owns: deleting as the reader meets it: gone at once, with a way back for a few seconds. Nobody is asked first.
 */

import { useApp } from '/static/ui/hooks.js';
import { t } from '/static/strings.js';

const UNDO_MS = 6_000;

/** -> a function that deletes the post or comment. The focus goes to `next()`, and comes back to `again()` after an undo. */
export function useDelete(kind, id, { next, again }) {
  const { actions, toasts } = useApp();
  const key = `${kind}:${id}`;
  return () => {
    const neighbour = next();
    actions.markDeleted(key);
    requestAnimationFrame(() => neighbour?.focus({ preventScroll: true }));
    toasts.offer({
      text: t(`${kind}.deleted`),
      action: t('undo'),
      ms: UNDO_MS,
      undo() {
        actions.restoreDeleted(key);
        requestAnimationFrame(() => again()?.focus());
      },
      after: () => actions.sendDeleted(key)?.catch(toasts.problem),
    });
  };
}
