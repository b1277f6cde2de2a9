"""Which fs_structs kernel threads share with processes, as a table of pandas: python shared_roots.py SNAPSHOT"""

import sys

from explorer import load

tasks = load(sys.argv[1]).to_pandas()

kernel = tasks["kind"].isin(["kthread", "kworker", "rescuer", "idle"])
print(tasks.groupby(["placement", kernel.map({True: "kernel", False: "processes"})]).size().to_string())

both = tasks.groupby("fs_struct")["kind"].agg(lambda kinds: len(set(kinds)))
for address in both[both > 1].index:
    sharers = tasks[tasks["fs_struct"] == address]
    print(f"0x{address:x}: {len(sharers)} tasks of the kinds {', '.join(sorted(set(sharers['kind'])))}")
