#!/usr/bin/env bash
# copy_tree.sh TO: makes TO/ the same as the sources of this tree, without what was built. Files that did not change
# keep their time, so that a build folder beside TO stays good.
source "$(dirname "$0")/common.sh"
to=$(realpath "$1")
cd "$root"
sources() {
  if have git && git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard
  else
    find . \( -path ./.git -o -path './build*' -o -path ./subprojects \) -prune -o -type f -print0
  fi
}
python3 - "$to" <(sources) <<'END'
import os, shutil, sys
to = sys.argv[1]
wanted = {os.path.normpath(p) for p in open(sys.argv[2], 'rb').read().decode().split('\0') if p and os.path.isfile(p)}
for path in wanted:
    target = os.path.join(to, path)
    if os.path.exists(target) and open(path, 'rb').read() == open(target, 'rb').read():
        continue
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(path, target)
for folder, _, names in os.walk(to):
    for name in names:
        path = os.path.join(folder, name)
        if os.path.relpath(path, to) not in wanted:
            os.remove(path)
END
