"""Who looks paths up through PID 1's filesystem state, and where: python who_borrows.py TARGET"""

import sys

from explorer import audit, capture, open_target, query

with open_target(sys.argv[1]) as kernel:
    snapshot = capture(kernel)

for task in query(snapshot, "borrowing"):
    path = task.walk.path if task.walk else None
    print(f"{task.name} ({task.pid}) borrows, at {path or 'no path'}")

worst = audit(snapshot).worst()
print(f"The worst finding is {worst}." if worst else "Nothing is wrong.")
