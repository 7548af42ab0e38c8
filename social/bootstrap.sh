# Finds a Python that can do the work and becomes social/bootstrap.py. Called by ./run and ./test, from any folder.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

become() {
    python=$1
    shift
    exec "$python" -I -S "$root/social/bootstrap.py" "$@"
}

tried='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
enough='import sys; sys.exit(sys.version_info < (3, 11))'

# The environment's own Python first: starting it takes 10 ms, a version manager's stand-in takes up to 200.
if [ -x "$root/.venv/bin/python" ] && "$root/.venv/bin/python" -I -S -c "$enough" 2>/dev/null; then
    become "$root/.venv/bin/python" "$@"
fi

# Then one that the pinned packages were tried on and that can make environments, then any that is new enough.
for question in "$tried" "$enough"; do
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -I -c "$question" >/dev/null 2>&1; then
            become "$name" "$@"
        fi
    done
done

echo "Python 3.11 or newer is needed and none was found on PATH. Install it, for instance from python.org." >&2
exit 1
